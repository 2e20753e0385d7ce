# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The signaling stand-in in its own process, with a Nextcloud stand-in and callers over real WebRTC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from sandbox import loopback_ice
from sandbox.caller import Caller, tone
from sandbox.demo.processes import Child, ProcessFailed
from sandbox.demo.setup import stand_in
from sandbox.nextcloud import Nextcloud


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (a caller tells nobody that it resumed)
            await asyncio.sleep(0.02)


async def test_two_callers_hear_each_other_and_survive_a_cut_and_a_restart(tmp_path: Path) -> None:
    async with (
        Nextcloud() as nextcloud,
        stand_in(nextcloud, tmp_path) as signaling,
        httpx.AsyncClient(trust_env=False) as admin,
    ):
        nextcloud.hpb_url = signaling.url
        nextcloud.talk.rooms.create("abcd1234")
        talker = Caller(signaling.websocket_url, nextcloud, "abcd1234", "user-1", "Speaker 1", tone(20.0))
        reader = Caller(signaling.websocket_url, nextcloud, "abcd1234", "user-2", "Reader 1", publishes=False)
        async with talker, reader:
            await (await reader.listen(talker.session_id)).heard()
            assert await signaling.first_audio(talker.session_id, 5.0) is not None

            session = talker.session_id
            assert (await admin.post(signaling.url + "/sandbox/cut", json={"session": session})).json() == {"count": 1}
            await eventually(lambda: talker.connection.resumes == 1)
            assert talker.session_id == session

            await admin.post(signaling.url + "/sandbox/restart", json={"down_s": 0.1})
            await eventually(lambda: talker.session_id not in ("", session))
            await talker.wait_connected()
            await eventually(lambda: talker.session_id in reader.others)
            await (await reader.listen(talker.session_id)).heard()


async def test_a_child_that_does_not_start_says_why(tmp_path: Path) -> None:
    environment = loopback_ice.child_environment()
    child = Child(
        "The signaling server",
        "sandbox.hpb",
        log=tmp_path / "log",
        environment=environment,
        first_line={"wrong": "configuration"},
    )
    async with child:
        with pytest.raises(ProcessFailed, match="KeyError"):
            await child.answer()

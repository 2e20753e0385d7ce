# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The cache of STUN and TURN servers: one fetch for all callers, and no failure reaches a call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from live_transcription.errors import LiveTranscriptionError
from live_transcription.types import IceServer
from live_transcription.webrtc.ice_servers import IceServerCache

SERVERS = (IceServer(("stun:stun.example.com",)),)


class Talk:
    """Answers once `answer` is set."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()
        self.asked = 0

    async def signaling_settings(self) -> Sequence[IceServer]:
        self.asked += 1
        await self.answer.wait()
        return SERVERS


async def asking(cache: IceServerCache, callers: int) -> list[asyncio.Task[Sequence[IceServer]]]:
    tasks = [asyncio.create_task(cache.get()) for _ in range(callers)]
    await asyncio.sleep(0.01)
    return tasks


async def test_concurrent_callers_share_one_fetch() -> None:
    talk = Talk()
    cache = IceServerCache(talk.signaling_settings)
    tasks = await asking(cache, 5)
    talk.answer.set()
    assert await asyncio.gather(*tasks) == [SERVERS] * 5
    assert await cache.get() == SERVERS
    assert talk.asked == 1


@pytest.mark.parametrize("leaver", [0, 1])
async def test_cancelling_one_caller_does_not_affect_the_others(leaver: int) -> None:
    """The first caller fetches and the others wait. Each of them may be cancelled when its call ends."""
    talk = Talk()
    cache = IceServerCache(talk.signaling_settings)
    tasks = await asking(cache, 3)
    tasks[leaver].cancel()
    await asyncio.wait([tasks[leaver]])
    await asyncio.sleep(0.01)
    talk.answer.set()
    stay = [task for task in tasks if task is not tasks[leaver]]
    assert await asyncio.gather(*stay) == [SERVERS] * 2


async def test_the_last_known_servers_are_used_if_a_fetch_fails() -> None:
    async def fails() -> Sequence[IceServer]:
        raise OSError("no route")

    assert await IceServerCache(fails).get() == ()


class TalkRefuses(LiveTranscriptionError):
    code = "talk_refuses"


@pytest.mark.parametrize(
    ("failure", "text", "code"),
    [
        (TalkRefuses("Talk 22.0.11 refuses.", fix="Update Talk."), "Talk 22.0.11 refuses. Update Talk.", "talk_refuses"),
        (OSError("secret"), "OSError.", ""),
    ],
)
async def test_the_log_says_why_the_servers_are_not_known(
    caplog: pytest.LogCaptureFixture, failure: Exception, text: str, code: str
) -> None:
    async def fails() -> Sequence[IceServer]:
        raise failure

    await IceServerCache(fails).get()
    (record,) = caplog.records
    assert text in record.getMessage()
    assert vars(record)["code"] == code
    assert "secret" not in record.getMessage()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app's process ends in the middle of a call and is started again: captions continue without any action."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from sandbox import loopback_ice, recording
from sandbox.caller import Caller, from_recording
from sandbox.demo.processes import Child, bare_environment
from sandbox.demo.setup import stand_in
from sandbox.demo.speech_server import speech_server
from sandbox.nextcloud import Nextcloud
from sandbox.ports import free_port
from sandbox.word_error_rate import normalise

SPOKEN = recording.load("en-conference")


class Scene:
    """`start()` runs the app until the block ends; `end` says how it ends."""

    def __init__(self, nextcloud: Nextcloud, environment: dict[str, str], storage: Path) -> None:
        self.nextcloud = nextcloud
        self.storage = storage
        self._environment = environment
        self._starts = 0

    @asynccontextmanager
    async def start(self, end: signal.Signals) -> AsyncIterator[Path]:
        """The log."""
        self._starts += 1
        log = self.storage.parent / f"app-{self._starts}.log"
        child = Child("The app", "ex_app.main", log=log, environment=self._environment)
        async with child:
            yield log
            async with asyncio.timeout(10):
                code = await child.kill(end)
            assert code == (0 if end is signal.SIGTERM else -end), child.last_lines()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[tuple[Scene, Caller, Caller]]:
    """An app that knows a moshi-server, somebody who talks for over a minute, and somebody who reads."""
    loopback_ice.install()
    storage = tmp_path / "storage"
    async with AsyncExitStack() as stack:
        nextcloud = await stack.enter_async_context(Nextcloud())
        signaling = await stack.enter_async_context(stand_in(nextcloud, tmp_path))
        nextcloud.hpb_url = signaling.url
        speech = await stack.enter_async_context(
            speech_server("moshi", "located", "en", loopback_ice.child_environment(), tmp_path)
        )
        app = nextcloud.app_api.register()
        environment = {
            **bare_environment(),
            **nextcloud.app_api.environment(app, port=free_port(), storage=str(storage)),
            "LT_HPB_URL": signaling.url,
            "LT_INTERNAL_SECRET": signaling.internal_secret,
            "LT_STT_ORDER": "moshi",
            **speech.environment,
        }
        room = nextcloud.talk.rooms.create().token
        where = (signaling.websocket_url, nextcloud, room)
        reader = await stack.enter_async_context(Caller(*where, "reader-1", "reader-1", publishes=False))
        talker = await stack.enter_async_context(Caller(*where, "speaker-1", "speaker-1", SPOKEN))
        talker.mute()
        yield Scene(nextcloud, loopback_ice.child_environment(environment), storage), reader, talker


@pytest.mark.parametrize(("end", "enabling_s"), [(signal.SIGTERM, 0.0), (signal.SIGKILL, 4.0)])
async def test_captions_go_on_after_the_process_was_started_again(
    scene: tuple[Scene, Caller, Caller], end: signal.Signals, enabling_s: float
) -> None:
    """`enabling_s`: AppAPI flags the app as enabled, so that it reads its settings, and tells it a moment later."""
    play, reader, talker = scene
    play.nextcloud.app_api.enabling_s = enabling_s
    app = play.nextcloud.app_api.apps["live_transcription"]
    async with play.start(end):
        await play.nextcloud.app_api.install(app, timeout_s=60)
        answer = await reader.enable_captions("en")
        assert answer.ok, answer
        talker.unmute()
        await reader.captions.wait(lambda _: len(reader.captions.text().split()) > 3, speaker=talker.session_id, timeout_s=30)
        kept = play.storage / "calls.json"
        async with asyncio.timeout(10):
            while not kept.exists() or not json.loads(kept.read_text())["calls"]:  # noqa: ASYNC110  another process writes it
                await asyncio.sleep(0.05)
        stopped_at = time.time()
    content = json.loads(kept.read_text())
    assert [call["room"] for call in content["rooms"]] == [reader.room_token]
    assert content["rooms"][0]["targets"] == [{"session": reader.nextcloud_session_id, "user": "reader-1"}]
    spoken = normalise(" ".join(caption.text for caption in reader.captions.received), "en")
    assert spoken
    assert "mute" not in kept.read_text(), "no transcript is written to disk"
    assert all(caption.final for caption in reader.captions.received)

    requests = len(app.progress_reports)
    async with play.start(signal.SIGTERM) as again:
        caption = await reader.captions.wait(speaker=talker.session_id, since=stopped_at + 1.5, timeout_s=40)
        assert caption.language == "en"
        assert set(normalise(caption.text, "en")) <= set(normalise(SPOKEN.text, "en"))
        assert len(app.progress_reports) == requests, "neither AppAPI nor Talk sent it a request"
        async with httpx.AsyncClient(trust_env=False) as client:
            health = (await client.get(f"{app.url}/healthz")).json()
        assert (health["calls"], health["targets"]) == (1, 1)
        assert from_recording(SPOKEN).duration_s > 60, "somebody still talks while the app goes again"
    assert "Resuming stored calls: 1" in again.read_text()

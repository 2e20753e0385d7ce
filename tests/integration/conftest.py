# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A Talk on loopback with the engine in the same process, so that a test can look inside."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.service import TranscriptionService
from live_transcription.transcripts.sink import TranscriptSink
from live_transcription.translation.translator import Translator
from live_transcription.types import IceServer, Secret
from sandbox import loopback_ice, recording
from sandbox.caller import Caller, FrameEncryption, Speech, from_recording
from sandbox.hpb import HpbStandIn
from sandbox.hpb import Nextcloud as NextcloudBehindHpb
from sandbox.nextcloud import Nextcloud
from sandbox.sfu import Sfu
from tests.fakes.stt import FakeBackend, FakeRegistry


async def no_ice_servers() -> Sequence[IceServer]:
    return ()


class TalkOnLoopback:
    """`service` is the engine with a fake speech-to-text; `caller` brings somebody into the room."""

    def __init__(self, nextcloud: Nextcloud, hpb: HpbStandIn, internal_secret: str, stack: AsyncExitStack) -> None:
        self.nextcloud = nextcloud
        self.hpb = hpb
        self.internal_secret = internal_secret
        self._stack = stack
        self.room = nextcloud.talk.rooms.create().token
        self.registry = FakeRegistry()

    @property
    def backend(self) -> FakeBackend:
        return self.registry.fake

    def config(self, **changes: object) -> EngineConfig:
        hpb = HpbConfig(self.hpb.url, Secret(self.internal_secret), self.nextcloud.url)
        return EngineConfig(**({"hpb": hpb} | changes))  # type: ignore[arg-type]

    async def service(
        self, *, translator: Translator | None = None, transcripts: TranscriptSink | None = None, **changes: object
    ) -> TranscriptionService:
        config = self.config(**changes)
        service = TranscriptionService(
            config,
            no_ice_servers,
            translator=translator,
            transcripts=transcripts,
            registry=self.registry,
            wall_clock=time.time,
        )
        return await self._stack.enter_async_context(service)

    async def caller(self, name: str, speech: Speech | None = None, *, room: str | None = None, **options: Any) -> Caller:
        url, room = self.hpb.websocket_url, room or self.room
        caller = Caller(url, self.nextcloud, room, name, name, speech, publishes=speech is not None, **options)
        await self._stack.enter_async_context(caller)
        return caller

    async def encrypting(self, name: str, speech: Speech, encryption: FrameEncryption) -> Caller:
        """A speaker for two minutes, with end-to-end encryption from the first packet on."""
        caller = Caller(self.hpb.websocket_url, self.nextcloud, self.room, name, name)
        caller.microphone.encryption = encryption
        for _ in range(math.ceil(120 / speech.duration_s)):
            caller.play(speech)
        await self._stack.enter_async_context(caller)
        return caller

    def internal_sessions(self) -> int:
        return list(self.hpb.state()["sessions"].values()).count("internal")

    async def wait_until_we_left(self, timeout_s: float = 5.0) -> None:
        async with asyncio.timeout(timeout_s):
            while self.internal_sessions():  # noqa: ASYNC110  the stand-in tells no one
                await asyncio.sleep(0.02)

    def failed_hellos(self) -> int:
        return sum(len(failures) for failures in self.hpb.hub.throttle.failures.values())


@asynccontextmanager
async def talk_on_loopback() -> AsyncIterator[TalkOnLoopback]:
    internal_secret = secrets.token_hex(16)
    async with AsyncExitStack() as stack:
        nextcloud = await stack.enter_async_context(Nextcloud())
        side = NextcloudBehindHpb(nextcloud.url + "/", nextcloud.signaling_secret)
        stack.push_async_callback(side.aclose)
        sfu = await stack.enter_async_context(Sfu())
        hpb = await stack.enter_async_context(HpbStandIn(side, sfu, internal_secret=internal_secret, offer_wait_s=2.0))
        nextcloud.hpb_url = hpb.url
        inner = await stack.enter_async_context(AsyncExitStack())
        yield TalkOnLoopback(nextcloud, hpb, internal_secret, inner)


@pytest.fixture
async def talk() -> AsyncIterator[TalkOnLoopback]:
    loopback_ice.install()
    async with talk_on_loopback() as talk:
        yield talk
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []


@pytest.fixture(scope="session")
def short_speech() -> Speech:
    """Six seconds, one sentence."""
    return from_recording(recording.load("en-short"))

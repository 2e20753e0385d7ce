# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Another engine behind the moshi-server: it takes over where the server cannot, and only there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from live_transcription.config import MoshiConfig
from live_transcription.stt.fallback import health
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.kyutai.moshi.backend import MoshiBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from sandbox.moshi_server import MoshiServer
from sandbox.moshi_server.speech import say, silence
from tests.fakes.stt import FakeBackend
from tests.moshi.conftest import Servers
from tests.moshi.listener import PATIENCE_S, Listener, listening
from tests.moshi.test_backend import dead


class Engines:
    """The moshi-server first, then a helper that answers everything."""

    def __init__(self, server: MoshiServer) -> None:
        self.helper = FakeBackend()
        moshi = MoshiBackend(MoshiConfig(url=server.stream_url))
        self.fallback = FallbackBackend([moshi, self.helper])
        self.backend = ResilientBackend(self.fallback)

    @property
    def state(self) -> str:
        """Of the moshi-server."""
        return self.fallback.health[0].state

    async def stays_away(self) -> None:
        """Give the probe time to call the moshi-server back, which it must not do."""
        for _ in range(30):
            assert self.state != "up"
            await asyncio.sleep(0.1)

    async def until_state(self, state: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.state != state:  # noqa: ASYNC110  a report sets no event
                await asyncio.sleep(0.05)


@asynccontextmanager
async def all_slots_taken(server: MoshiServer) -> AsyncIterator[None]:
    moshi = MoshiBackend(MoshiConfig(url=server.stream_url))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(server.batch_size):
            await stack.enter_async_context(moshi.open_stream("en"))
        yield


async def utterances(listener: Listener, count: int) -> None:
    for _ in range(count):
        await listener.say(np.concatenate([say("alpha", "bravo"), silence(4)]))
        await listener.stream.flush()


async def test_a_server_that_is_gone_is_helped_out_for_and_used_again_when_it_is_back(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE_S", (2.0, 2.0))
    # A second slot: moshi-server frees that of the probe only a moment after the probe has ended.
    async with servers(batch_size=2) as server:
        engines = Engines(server)
        async with listening(engines.backend) as listener:
            await utterances(listener, 1)
            await listener.until_words(2)
            await server.kill()
            await utterances(listener, 2)
            assert engines.helper.streams
            await engines.until_state("down")
            await server.start()
            await engines.until_state("up")
            await utterances(listener, 1)
            await listener.until(lambda: listener.words[-2:] == ["alpha", "bravo"])


async def test_a_full_server_does_not_make_the_engines_flap(servers: Servers) -> None:
    async with servers(batch_size=1) as server, all_slots_taken(server):
        engines = Engines(server)
        async with listening(engines.backend) as listener:
            for _ in range(2):
                await utterances(listener, 1)
                await engines.stays_away()
                assert engines.state == "full"
            assert len(engines.helper.streams) <= 2


async def test_a_dead_model_is_left_to_the_helper(servers: Servers) -> None:
    async with servers(batch_size=4) as server:
        await dead(server)
        engines = Engines(server)
        async with listening(engines.backend) as listener:
            await utterances(listener, 1)
            async with asyncio.timeout(PATIENCE_S):
                while not engines.helper.streams:  # noqa: ASYNC110  the fake sets no event
                    await asyncio.sleep(0.05)
            await engines.stays_away()

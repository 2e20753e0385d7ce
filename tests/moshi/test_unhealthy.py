# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A server that accepts audio but is unhealthy: the next engine takes over, and the speech that it missed is not lost."""

from __future__ import annotations

import asyncio

from live_transcription.config import MoshiConfig
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.kyutai.moshi.backend import MoshiBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from sandbox.moshi_server import MoshiServer
from sandbox.moshi_server.speech import say
from sandbox.moshi_server.weights import WORDS
from tests.fakes.stt import FakeBackend
from tests.fakes.stt_counts import SttCounts
from tests.moshi.conftest import Servers
from tests.moshi.listener import PATIENCE_S, listening


def in_order(*servers: MoshiServer) -> FallbackBackend:
    return FallbackBackend([MoshiBackend(MoshiConfig(url=server.stream_url)) for server in servers])


#: 24 words in 15 s.
SPEECH = say(*WORDS, frames=5, gap=3)


async def test_a_deaf_server_is_left_and_the_next_engine_transcribes_all_of_it(servers: Servers) -> None:
    counts = SttCounts()
    async with servers(batch_size=2, fault="deaf") as deaf, servers(batch_size=2) as healthy:
        engines = in_order(deaf, healthy)
        async with listening(ResilientBackend(engines)) as listener:
            await listener.say(SPEECH, speed=1.5, speech=True)
            await listener.stream.flush()
            await listener.finish(after=len(WORDS))
        state = engines.health[0]
    assert listener.words == list(WORDS)
    assert (state.state, state.code) == ("down", "stt_deaf")
    assert counts.failures["stt_deaf"] >= 2
    assert counts.dropped_s == 0


async def test_a_server_that_repeats_a_word_is_left(servers: Servers) -> None:
    async with servers(batch_size=2, fault="repeating") as repeating, servers(batch_size=2) as healthy:
        engines = in_order(repeating, healthy)
        async with listening(ResilientBackend(engines)) as listener:
            await listener.say(SPEECH, speed=1.5, speech=True)
            await listener.stream.flush()
            await listener.until(lambda: listener.words == list(WORDS))
        assert engines.health[0].code == "stt_repeating"


async def test_a_server_that_is_too_slow_is_left(servers: Servers) -> None:
    """It works for a tenth of the time."""
    counts = SttCounts()
    async with servers(batch_size=2) as server:
        helper = FakeBackend()
        engines = FallbackBackend([MoshiBackend(MoshiConfig(url=server.stream_url)), helper])

        async def slow_down() -> None:
            while True:
                server.pause()
                await asyncio.sleep(0.45)
                server.resume()
                await asyncio.sleep(0.05)

        slowness = asyncio.create_task(slow_down())
        try:
            async with listening(ResilientBackend(engines)) as listener, asyncio.timeout(PATIENCE_S):
                while not helper.streams:
                    await listener.say(say("alpha", "bravo", "charlie"), speed=1.0, speech=True)
        finally:
            slowness.cancel()
            await asyncio.wait([slowness])
        assert counts.failures["stt_slow"] >= 1

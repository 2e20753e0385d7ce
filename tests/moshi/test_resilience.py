# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A speaker's stream survives failures of the server: each word appears once, in order, and no audio is dropped."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import numpy as np
import pytest

from live_transcription.config import MoshiConfig
from live_transcription.errors import SttRefused, SttWrongModel
from live_transcription.stt.base import Restarted
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.kyutai.moshi.backend import MoshiBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.types import Secret
from sandbox.moshi_server import MoshiServer
from sandbox.moshi_server.speech import TAIL_FRAMES, say, silence
from sandbox.moshi_server.weights import WORDS
from tests.fakes.stt_counts import SttCounts
from tests.moshi.conftest import Servers
from tests.moshi.listener import Listener, listening


@dataclass
class Resilience:
    """The engine for a server, as the app puts it together, and what it counted."""

    server: MoshiServer
    key: str = "public_token"
    counts: SttCounts = field(default_factory=SttCounts)

    @property
    def backend(self) -> ResilientBackend:
        engine = MoshiBackend(MoshiConfig(url=self.server.stream_url, key=Secret(self.key)))
        return ResilientBackend(FallbackBackend([engine]))


async def say_all(listener: Listener) -> None:
    await listener.say(np.concatenate([say(*WORDS), silence(TAIL_FRAMES)]))
    await listener.finish(after=len(WORDS))


async def test_a_server_that_is_killed_and_comes_back(servers: Servers) -> None:
    async with servers(batch_size=1) as server, listening((made := Resilience(server)).backend) as listener:
        saying = asyncio.create_task(say_all(listener))
        await listener.until_words(8)
        await server.kill()
        await asyncio.sleep(1.0)
        await server.start()
        await saying
    assert listener.words == list(WORDS)
    assert listener.count(Restarted) == 1
    assert made.counts.dropped_s == 0


async def test_a_server_that_is_restarted_between_two_words(servers: Servers) -> None:
    async with servers(batch_size=1) as server, listening((made := Resilience(server)).backend) as listener:
        await listener.say(say(*WORDS[:6]))
        await listener.stream.flush()
        await listener.until_words(6)
        await server.restart()
        await listener.say(np.concatenate([say(*WORDS[6:12]), silence(TAIL_FRAMES)]))
        await listener.finish(after=12)
    assert listener.words == [*WORDS[:12]]
    assert made.counts.dropped_s == 0


async def test_a_server_that_hangs_for_a_moment_is_waited_for(servers: Servers) -> None:
    async with servers(batch_size=1) as server, listening((made := Resilience(server)).backend) as listener:
        saying = asyncio.create_task(listener.say(np.concatenate([say(*WORDS[:12]), silence(TAIL_FRAMES)])))
        await listener.until_words(4)
        server.pause()
        await asyncio.sleep(2.5)
        server.resume()
        await saying
        await listener.finish(after=12)
    assert listener.words == [*WORDS[:12]]
    assert made.counts.failures == {}


async def test_a_server_that_hangs_for_ten_seconds_is_left_and_found_again(servers: Servers) -> None:
    """`make acceptance NAME=engine_faults` hangs it for 20 and 45 seconds, too."""
    async with servers(batch_size=2) as server, listening((made := Resilience(server)).backend) as listener:
        saying = asyncio.create_task(say_all(listener))
        await listener.until_words(4)
        server.pause()
        await asyncio.sleep(10)
        server.resume()
        await saying
    assert listener.words == list(WORDS)
    assert made.counts.failures["stt_stalled"] == 1
    assert made.counts.dropped_s == 0


async def test_a_full_server_is_waited_for(servers: Servers) -> None:
    async with servers(batch_size=1) as server:
        async with listening(Resilience(server).backend) as first:
            await first.say(np.concatenate([say("zulu"), silence(TAIL_FRAMES)]))
            await first.until_words(1)
            made = Resilience(server)
            stream = made.backend.open_stream("en")
            waiting = Listener(await stream.__aenter__())
            reading = asyncio.create_task(waiting.run())
            await waiting.say(np.concatenate([say(*WORDS[:6]), silence(TAIL_FRAMES)]))
            assert made.counts.failures["stt_at_capacity"] >= 1
            await first.finish()
        await waiting.finish(after=6)
        await reading
        await stream.__aexit__(None, None, None)
    assert waiting.words == [*WORDS[:6]]
    assert made.counts.dropped_s == 0


async def test_a_wrong_key_is_tried_once(real: MoshiServer) -> None:
    made = Resilience(real, key="guess")
    async with listening(made.backend) as listener:
        await listener.stream.send(say("alpha"))
        with pytest.raises(SttRefused):
            await listener.until_words(1)
    assert made.counts.failures == {"stt_refused": 1}


async def test_a_model_without_pause_heads_is_refused_by_name(servers: Servers) -> None:
    async with servers(batch_size=1, pause_heads=False) as server, listening(Resilience(server).backend) as listener:
        with contextlib.suppress(SttWrongModel):
            await listener.say(np.concatenate([say(*WORDS[:12]), silence(12)]), speed=1.0)
        with pytest.raises(SttWrongModel, match="stt-1b-en_fr"):
            await listener.until(lambda: False)
    assert not listener.words


async def test_a_server_that_hangs_at_the_very_end_loses_no_word(servers: Servers) -> None:
    async with servers(batch_size=1) as server, listening(Resilience(server).backend) as listener:
        await listener.say(np.concatenate([say(*WORDS[:4]), silence(TAIL_FRAMES)]))
        await listener.until_words(4)
        server.pause()
        await listener.say(say(*WORDS[4:8]))
        finishing = asyncio.create_task(listener.finish())
        await asyncio.sleep(2.0)
        server.resume()
        await finishing
    assert listener.words == [*WORDS[:8]]

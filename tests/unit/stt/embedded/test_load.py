# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Many speakers on two slots: up to the capacity finals come in time, and beyond it nobody makes them late for the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from random import Random

import pytest

from live_transcription.config import EmbeddedConfig
from live_transcription.errors import SttAtCapacity
from live_transcription.stt.base import Flushed, SttStream
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.pool import OVERLOAD, DecodePacing, Priority
from live_transcription.types import SAMPLE_RATE
from sandbox import virtual_clock
from sandbox.virtual_pool import VirtualPool
from tests.unit.stt.fake_engine import FakeEngine, frames, silence, words

#: Seconds of a decode, as measured with two decodes at a time: a hypothesis of up to 8.5 s, and a final.
COST_S = {Priority.FIRST_WORDS: 0.25, Priority.HYPOTHESIS: 0.25, Priority.FINAL: 0.35}
#: Silence after which voice activity detection flushes (`vad.gate`).
HANGOVER_S = 0.56
#: Samples of a frame: 200 ms, which takes less time to test than 80 ms.
LENGTH = 4800
#: Twice as many as the documentation promises for two cores.
SPEAKERS = 8


def backend() -> EmbeddedBackend:
    made = EmbeddedBackend(FakeEngine(), EmbeddedConfig(slots=2))
    made._pool = VirtualPool(2, 0.5, COST_S.__getitem__)
    return made


async def talk(stream: SttStream, sentences: list[int], pause_s: float) -> list[float]:
    """Say sentences of so many words. Returns the seconds from the last sound of each to its final."""
    loop = asyncio.get_running_loop()
    ended: list[float] = []
    late: list[float] = []

    async def read() -> None:
        async for event in stream.events():
            if isinstance(event, Flushed):
                late.append(loop.time() - ended[len(late)])

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        for count in sentences:
            for frame in frames(words(count), LENGTH):
                await asyncio.sleep(len(frame) / SAMPLE_RATE)
                await stream.send(frame)
            ended.append(loop.time())
            for frame in frames(silence(HANGOVER_S), LENGTH):
                await asyncio.sleep(len(frame) / SAMPLE_RATE)
                await stream.send(frame)
            await stream.flush()
            await asyncio.sleep(pause_s)
        await stream.end()
    return late


async def conversation(speakers: int, *, together: bool, sentences: int = 5) -> list[float]:
    """Each says so many sentences, with short pauses; `together`: all begin and stop at the same moments."""
    random, engine = Random(4), backend()
    plan = [random.randint(4, 40) for _ in range(sentences)]
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        talking = []
        for _ in range(speakers):
            stream = await stack.enter_async_context(engine.open_stream("en"))
            mine = plan if together else random.sample(plan, len(plan))
            talking.append(tasks.create_task(talk(stream, mine, 0.4 if together else random.uniform(0.1, 1.5))))
        async with asyncio.TaskGroup():
            late = [each for task in talking for each in await task]
    await engine.aclose()
    return late


@pytest.mark.parametrize("together", [False, True])
def test_finals_of_twice_as_many_speakers_as_promised_come_within_three_seconds(together: bool) -> None:
    assert DecodePacing(0.5, 2).capacity == SPEAKERS
    late = virtual_clock.run(conversation(SPEAKERS, together=together), loopback_s=0.0)
    assert len(late) == 5 * SPEAKERS
    assert max(late) <= 3.0


def test_streams_are_refused_while_so_many_talk_that_finals_would_be_late() -> None:
    """When a remote engine fails, all its speakers come at once."""

    async def scenario() -> None:
        engine = backend()
        async with AsyncExitStack() as stack:
            for _ in range(OVERLOAD * SPEAKERS):
                await stack.enter_async_context(engine.open_stream("en"))
            with pytest.raises(SttAtCapacity, match=r"can transcribe 8 speakers at the same time.*CPU cores") as refusal:
                await stack.enter_async_context(engine.open_stream("en"))
            assert refusal.value.retryable
            await asyncio.sleep(DecodePacing.TALKING_S + 0.1)  # the others are silent
            await stack.enter_async_context(engine.open_stream("en"))
        await engine.aclose()

    virtual_clock.run(scenario(), loopback_s=0.0)


def test_finals_come_in_time_while_as_many_talk_as_are_accepted() -> None:
    late = virtual_clock.run(conversation(OVERLOAD * SPEAKERS, together=False, sentences=3), loopback_s=0.0)
    assert max(late) <= 3.0

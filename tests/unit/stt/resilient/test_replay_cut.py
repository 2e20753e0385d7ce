# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A replay begins between two words: of no word is a part transcribed again, or left out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Literal

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from live_transcription.errors import SttUnavailable
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.stt.resilient.retry import ResiliencePolicy
from sandbox.virtual_clock import run
from tests.unit.stt.kyutai.kyutai_model import FRAME, FRAME_S, Captions, silence
from tests.unit.stt.resilient.burst_model import BurstModel, Times, burst


async def transcribed(backend: SttBackend, words: Sequence[tuple[int, int]], *, ring_s: float = 120.0) -> list[int]:
    """Say words, each given as its number of frames and that of the silence after it, and return those that a reader has."""
    captions = Captions()

    async def read(stream: SttStream) -> None:
        async for event in stream.events():
            captions.feed(event, 0.0)

    async with (
        ResilientBackend(backend, policy=ResiliencePolicy(ring_s=ring_s), random=Random(1)).open_stream("en") as stream,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(read(stream))
        for number, (frames, gap) in enumerate(words):
            for frame in burst(number, frames, gap):
                await asyncio.sleep(FRAME_S)
                await stream.send(frame)
        for frame in silence(0.6):
            await asyncio.sleep(FRAME_S)
            await stream.send(frame)
        await stream.flush()
        await stream.end()
    return captions.words


#: Speech without a pause: words of 0.24 to 0.64 s, with 0.16 to 0.96 s between them.
WORDS = st.lists(st.tuples(st.integers(3, 8), st.integers(2, 12)), min_size=10, max_size=60)


@given(
    words=WORDS,
    breaks=st.lists(st.floats(5, 60), min_size=1, max_size=3),
    outage_s=st.floats(0, 12),
    times=st.sampled_from(("none", "start", "start and end")),
    acknowledges=st.booleans(),
    latency_s=st.sampled_from([0.0, 0.1, 0.3]),
    pauses=st.booleans(),
    heard=st.sampled_from((FRAME, 3 * FRAME)),
    next_engine=st.sampled_from(("none", "words", "hypotheses")),
)
@example(
    words=[(8, 12)] * 24,
    breaks=[34.0],
    outage_s=0.0,
    times="start",
    acknowledges=True,
    latency_s=0.0,
    pauses=False,
    heard=FRAME,
    next_engine="none",
)
@settings(max_examples=100, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_no_break_loses_or_repeats_a_word_of_speech_longer_than_what_is_replayed(
    words: list[tuple[int, int]],
    breaks: list[float],
    outage_s: float,
    times: Times,
    acknowledges: bool,
    latency_s: float,
    pauses: bool,
    heard: int,
    next_engine: Literal["none", "words", "hypotheses"],
) -> None:
    # Without word times, a model that is not exact about its progress leaves the position of words unknown in a replay.
    acknowledges |= times == "none"

    async def scenario() -> None:
        model = BurstModel(
            heard=heard,
            word_times=times,
            pauses=pauses,
            acknowledges=acknowledges,
            latency_s=latency_s,
            break_at=tuple(breaks),
            failure=lambda now: SttUnavailable("down") if any(at <= now < at + outage_s for at in breaks) else None,
        )
        engines = [model]
        if next_engine != "none":
            engines.append(BurstModel(heard=heard, word_times=times, latency_s=latency_s, whole=next_engine == "hypotheses"))
            engines[-1].name = "next"
        said = await transcribed(FallbackBackend(engines, random=Random(1)), words)
        assert said == sorted(said)
        assert set(said) == set(range(len(words)))
        # The next engine reports no progress: without word times, the word at the cut may be transcribed again.
        assert len(said) - len(words) <= (times == "none" and next_engine == "words")

    run(scenario())


@given(
    words=WORDS,
    break_at=st.floats(5, 40),
    outage_s=st.floats(15, 40),
    times=st.sampled_from(("none", "start", "start and end")),
    latency_s=st.sampled_from([0.0, 0.1, 0.3]),
)
@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_an_outage_longer_than_the_ring_repeats_no_word(
    words: list[tuple[int, int]], break_at: float, outage_s: float, times: Times, latency_s: float
) -> None:
    async def scenario() -> None:
        model = BurstModel(
            heard=FRAME,
            word_times=times,
            latency_s=latency_s,
            break_at=(break_at,),
            failure=lambda now: SttUnavailable("down") if break_at <= now < break_at + outage_s else None,
        )
        said = await transcribed(model, words, ring_s=15.0)
        # Without the times at which words end, the word at the ring's edge may be transcribed again from its second half.
        assert said == sorted(said)
        assert len(said) - len(set(said)) <= (times != "start and end")
        assert said[-1] == len(words) - 1

    run(scenario())

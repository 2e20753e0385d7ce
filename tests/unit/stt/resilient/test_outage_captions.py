# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Captions and utterances contain every word once, in order, after any break between the model and the app."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from live_transcription.errors import SttExpired, SttUnavailable
from live_transcription.speaker.captioner import Captioner
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.stt.resilient.retry import ResiliencePolicy
from live_transcription.transcript import Utterance
from live_transcription.types import Caption
from sandbox.virtual_clock import run
from tests.unit.stt.kyutai.kyutai_model import FRAME_S, KyutaiModel, silence, speech

#: As in the gate: seconds of silence that end speech, and seconds of speech that begin it.
HANGOVER_S = 0.56
ONSET_S = 0.12
Sentence = tuple[int, float]


class Reader:
    """Speaks sentences into a stream as the transcriber does, and records the captions."""

    def __init__(self, backend: SttBackend) -> None:
        self.backend = ResilientBackend(backend, policy=ResiliencePolicy(ring_s=60.0), random=Random(1))
        self.captions: list[Caption] = []
        self.utterances: list[Utterance] = []
        self.captioner = Captioner("speaker-1", "en", self.captions.append, self.utterances.append)

    async def listen(self, sentences: Sequence[Sentence]) -> None:
        """Speak sentences, each given as its number of words and the pause after it."""
        async with self.backend.open_stream("en") as stream, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.read(stream))
            word = 0
            for count, pause_s in sentences:
                self.captioner.start_of_speech(ONSET_S)
                for frame in [*speech(word, count), *silence(HANGOVER_S)]:
                    await asyncio.sleep(FRAME_S)
                    await stream.send(frame)
                word += count
                await stream.flush()
                self.captioner.end_of_speech(HANGOVER_S)
                await asyncio.sleep(pause_s)
            await stream.end()
        self.captioner.finalise()
        self.captioner.close()

    async def read(self, stream: SttStream) -> None:
        async for event in stream.events():
            self.captioner.feed(event)

    @property
    def text(self) -> list[str]:
        return " ".join(caption.text for caption in self.captions).split()


def spoken(sentences: Sequence[Sentence]) -> list[str]:
    return [f"w{number}" for number in range(sum(count for count, _ in sentences))]


#: Shrinking a failing hour of virtual time takes minutes of real time.
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
SENTENCES = st.lists(st.tuples(st.integers(1, 45), st.sampled_from([0.1, 0.5, 1.0, 3.0])), min_size=1, max_size=5)


@given(
    sentences=SENTENCES,
    breaks=st.lists(st.floats(0.5, 40), max_size=4),
    outage_s=st.floats(0, 12),
    acknowledges=st.booleans(),
    expires=st.booleans(),
    times=st.booleans(),
    latency_s=st.sampled_from([0.0, 0.1]),
)
@example(sentences=[(60, 0.5)], breaks=[7.03], outage_s=10.0, acknowledges=True, expires=False, times=False, latency_s=0.1)
@example(sentences=[(60, 0.5)], breaks=[7.03], outage_s=10.0, acknowledges=False, expires=False, times=False, latency_s=0.1)
@example(
    sentences=[(45, 0.5), (25, 1.0)], breaks=[14.77], outage_s=0.0, acknowledges=True, expires=True, times=True, latency_s=0.0
)
@example(sentences=[(3, 0.5)], breaks=[2.35], outage_s=1.0, acknowledges=True, expires=False, times=False, latency_s=0.1)
@settings(max_examples=60, deadline=None, phases=WITHOUT_SHRINKING)
def test_no_break_at_any_time_loses_or_repeats_a_word_in_the_captions(
    sentences: list[Sentence],
    breaks: list[float],
    outage_s: float,
    acknowledges: bool,
    expires: bool,
    times: bool,
    latency_s: float,
) -> None:
    async def scenario() -> None:
        model = KyutaiModel(
            break_at=tuple(breaks),
            break_error=lambda: SttExpired("old") if expires else SttUnavailable("broke"),
            failure=lambda now: SttUnavailable("down") if any(at <= now < at + outage_s for at in breaks) else None,
            acknowledges=acknowledges,
            latency_s=latency_s,
            times=times,
        )
        reader = Reader(model)
        await reader.listen(sentences)
        assert reader.text == spoken(sentences)
        assert " ".join(utterance.text for utterance in reader.utterances).split() == spoken(sentences)

    run(scenario())


@given(sentences=SENTENCES, breaks=st.lists(st.floats(0.5, 40), min_size=1, max_size=3), outage_s=st.floats(2, 20))
@example(sentences=[(41, 0.5), (30, 0.5)], breaks=[15.99], outage_s=16.0)
@example(
    sentences=[(41, 0.5), (30, 0.5), (1, 0.1), (4, 0.5), (15, 3.0)],
    breaks=[39.99999999999999, 15.989170738758993, 37.458520473952305],
    outage_s=15.989170738758993,
)
@example(sentences=[(2, 0.1), (12, 0.1), (18, 3.0), (16, 1.0), (2, 3.0)], breaks=[30.094975751478103], outage_s=15.6)
@settings(max_examples=40, deadline=None, phases=WITHOUT_SHRINKING)
def test_another_engine_that_helps_in_an_outage_loses_and_repeats_nothing(
    sentences: list[Sentence], breaks: list[float], outage_s: float
) -> None:
    async def scenario() -> None:
        model = KyutaiModel(
            break_at=tuple(breaks),
            failure=lambda now: SttUnavailable("down") if any(at <= now < at + outage_s for at in breaks) else None,
        )
        helper = KyutaiModel(whole=True)
        helper.name = "helper"
        reader = Reader(FallbackBackend((model, helper), random=Random(1)))
        await reader.listen(sentences)
        assert reader.text == spoken(sentences)
        assert " ".join(utterance.text for utterance in reader.utterances).split() == spoken(sentences)

    run(scenario())

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Speakers that share speech-to-text streams: which of them are transcribed, and what happens to the speech of the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np
import pytest

from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.capacity.memory import MemoryReading
from live_transcription.capacity.watch import Capacity, PublisherClaims
from live_transcription.errors import SttRefused
from live_transcription.observability import metrics
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.transcriber import WAITING_S, Transcriber
from live_transcription.transcript import Gap, GapReason, Hypothesis, Utterance
from live_transcription.types import SAMPLE_RATE, Caption, Frame
from live_transcription.vad.gate import AlwaysSpeech, SilenceGate
from sandbox import virtual_clock
from tests.fakes.stt import FakeBackend, FakeStream

FRAME = 1920
FRAME_S = FRAME / SAMPLE_RATE


class LoudIsSpeech:
    def probability(self, frame: Frame) -> float:
        return 1.0 if float(np.abs(frame).max()) > 0.1 else 0.0

    def reset(self) -> None:
        pass


class Talker:
    """A speaker without a transport, whose frames arrive in real time."""

    def __init__(self, stage: Stage, call: str, *, gate: bool = True) -> None:
        self.backend = FakeBackend()
        self.backend.prepare = stage.opened
        self.captions: list[Caption] = []
        self.utterances: list[Utterance] = []
        self.gaps: list[Gap] = []
        self.claims: PublisherClaims = stage.capacity.claims(call, lambda: None)
        self.quiet: list[bool] = []
        self.frames = FrameQueue(30.0)
        activity = SilenceGate(LoudIsSpeech())
        self.transcriber = Transcriber(
            self.frames,
            activity if gate else SilenceGate(AlwaysSpeech()),
            self.backend,
            Captioner("speaker", "en", self.captions.append, self.utterances.append, on_gap=self.gaps.append),
            "en",
            on_error=lambda error: None,
            slot=self.claims,
            activity=None if gate else activity,
            on_quiet=self.quiet.append,
        )

    async def say(self, seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            self.frames.put(np.full(FRAME, 0.5, dtype=np.float32))
            await asyncio.sleep(FRAME_S)

    async def hush(self, seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            self.frames.put(np.zeros(FRAME, dtype=np.float32))
            await asyncio.sleep(FRAME_S)

    @property
    def open_streams(self) -> int:
        return sum(not stream.closed for stream in self.backend.streams)

    @property
    def transcribed_s(self) -> float:
        return sum(stream.acknowledged_s for stream in self.backend.streams)

    @property
    def finals(self) -> list[str]:
        return [utterance.text for utterance in self.utterances if utterance.text]


class Stage:
    """Speakers that share `most` streams."""

    def __init__(self, most: int) -> None:
        self.capacity = Capacity(read=lambda: MemoryReading(0))
        self.capacity.limit(most, 0)
        self.streams: list[FakeStream] = []
        self.opened = self.streams.append
        self._tasks: list[asyncio.Task[None]] = []
        self._talkers: list[Talker] = []

    def talker(self, call: str = "call", *, gate: bool = True) -> Talker:
        made = Talker(self, call, gate=gate)
        self._talkers.append(made)
        self._tasks.append(asyncio.create_task(made.transcriber.run()))
        return made

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Stage]:
        watching = asyncio.create_task(self.capacity.watch())
        yield self
        for talker in self._talkers:
            talker.transcriber.close()
        await asyncio.gather(*self._tasks)
        watching.cancel()
        await asyncio.wait([watching])


def test_a_silent_speaker_loses_the_stream_to_a_talking_one_whose_onset_is_not_lost() -> None:
    async def run() -> None:
        async with Stage(1).open() as stage:
            first, second = stage.talker("a"), stage.talker("b")
            await first.say(2)
            await first.hush(9)
            assert first.open_streams == 1
            speaking = asyncio.create_task(second.say(5))
            await asyncio.sleep(1.0)
            assert second.open_streams == 0, "silent for less than ten seconds"
            await first.hush(1.2)
            assert (first.open_streams, second.open_streams) == (0, 1)
            assert first.finals == ["speech 1 begins and ends 1"]
            await speaking
            await second.hush(1)
            assert 4.9 <= second.transcribed_s <= 6.2, "from the onset on"

    virtual_clock.run(run())


def gaps_of(talker: Talker) -> list[tuple[GapReason, float]]:
    return [(gap.reason, pytest.approx(gap.ended_at - gap.started_at, abs=1.0)) for gap in talker.gaps]


def test_speech_without_a_slot_is_a_gap() -> None:
    async def run() -> None:
        async with Stage(1).open() as stage:
            first, second = stage.talker("a"), stage.talker("a")
            speaking = asyncio.create_task(first.say(30))
            await asyncio.sleep(1)
            await second.say(6)
            await second.hush(3)
            assert gaps_of(second) == [(GapReason.NOT_ADMITTED, 6.0)]
            await speaking
            await first.hush(12)
            await second.say(4)
            await second.hush(3)
            assert len(second.gaps) == 1
            assert first.gaps == []

    virtual_clock.run(run())


def test_a_slot_that_comes_late_leaves_a_gap_up_to_the_speech_that_was_kept() -> None:
    async def run() -> None:
        async with Stage(1).open() as stage:
            first, second = stage.talker("a"), stage.talker("a")
            speaking = asyncio.create_task(first.say(5))
            await asyncio.sleep(1)
            talking = asyncio.create_task(second.say(40))
            await speaking
            await first.hush(20)
            await talking
            await second.hush(2)
            (gap,) = second.gaps
            assert gap.reason is GapReason.NOT_ADMITTED
            assert second.transcribed_s + gap.ended_at - gap.started_at == pytest.approx(40.0, abs=2.0)

    virtual_clock.run(run())


def test_speech_that_no_engine_accepts_is_a_gap() -> None:
    async def run() -> None:
        async with Stage(2).open() as stage:
            talker = stage.talker("a")

            def refuse() -> None:
                raise SttRefused("The key is wrong.")

            talker.backend.refuse = refuse
            await talker.hush(1)
            await talker.say(12)
            await talker.hush(30)
            assert {gap.reason for gap in talker.gaps} == {GapReason.NO_ENGINE}
            assert sum(gap.ended_at - gap.started_at for gap in talker.gaps) == pytest.approx(12.0, abs=1.5)
            assert talker.finals == []

    virtual_clock.run(run())


def test_a_muted_speaker_without_packets_loses_the_stream_too() -> None:
    async def run() -> None:
        async with Stage(1).open() as stage:
            first, second = stage.talker("a"), stage.talker("a")
            await first.say(2)
            await asyncio.sleep(11)  # no RTP at all
            assert first.open_streams == 1
            await second.say(1)
            assert (first.open_streams, second.open_streams) == (0, 1)
            assert first.finals == ["speech 1 begins and ends 1"]

    virtual_clock.run(run())


def test_the_last_words_of_a_speaker_that_loses_the_stream_are_delivered() -> None:
    async def run() -> None:
        async with Stage(2).open() as stage:
            first, second = stage.talker("a"), stage.talker("a")
            for talker in (first, second):
                talker.backend.prepare = lambda stream: setattr(stream, "never_ends", True)
            speaking = [asyncio.create_task(talker.say(20)) for talker in (first, second)]
            await asyncio.sleep(6)
            other = stage.talker("b")
            speaking.append(asyncio.create_task(other.say(10)))
            await asyncio.sleep(1)
            assert other.open_streams == 1
            assert stage.capacity.slots == 2
            loser = first if not first.claims.held else second
            stream = loser.backend.streams[0]
            assert not stream.closed, "its last words may still come"
            stream.emitted.put_nowait(Hypothesis("all there was", final=True))
            stream.emitted.put_nowait(None)
            await asyncio.sleep(0.1)
            assert loser.finals == ["all there was"]
            assert stream.closed
            assert stage.capacity.speakers_waiting == 1
            await asyncio.gather(*speaking)

    virtual_clock.run(run())


def test_a_stream_that_was_taken_away_is_closed_although_its_engine_never_ends() -> None:
    async def run() -> None:
        async with Stage(1).open() as stage:
            first = stage.talker("a")
            first.backend.prepare = lambda stream: setattr(stream, "never_ends", True)
            await first.say(2)
            await first.hush(11)
            second = stage.talker("a")
            await second.say(1)
            await first.hush(12)
            assert first.backend.streams[0].closed

    virtual_clock.run(run())


def test_a_stream_that_drains_without_limit_gets_one_when_its_slot_is_taken_away() -> None:
    async def run() -> None:
        async with Stage(1).open() as stage:
            first = stage.talker("a")
            first.backend.prepare = lambda stream: setattr(stream, "never_ends", True)
            await first.say(2)
            first.transcriber.language = "fr"
            await first.hush(9)
            assert not first.backend.streams[0].closed, "its last words may come, however late"
            second = stage.talker("a")
            await second.say(3)
            assert second.open_streams == 1
            await first.hush(11)
            assert first.backend.streams[0].closed

    virtual_clock.run(run())


def test_speech_that_waits_in_vain_is_counted_as_untranscribed() -> None:
    async def run() -> float:
        before = metrics.registry.get_sample_value("live_transcription_untranscribed_seconds_total") or 0.0
        async with Stage(1).open() as stage:
            first, second = stage.talker(), stage.talker()
            going_on = asyncio.create_task(first.say(29))
            await asyncio.sleep(1)
            await second.say(20)
            assert stage.capacity.speakers_waiting == 1
            await second.hush(1)
            assert stage.capacity.speakers_waiting == 0
            assert second.backend.streams == []
            await going_on
        return (metrics.registry.get_sample_value("live_transcription_untranscribed_seconds_total") or 0.0) - before

    assert 20.0 <= virtual_clock.run(run()) <= 21.5


def test_without_a_gate_waiting_silence_is_not_counted_as_untranscribed() -> None:
    async def run() -> float:
        before = metrics.registry.get_sample_value("live_transcription_untranscribed_seconds_total") or 0.0
        async with Stage(1).open() as stage:
            await stage.talker(gate=False).hush(60)
        return (metrics.registry.get_sample_value("live_transcription_untranscribed_seconds_total") or 0.0) - before

    assert virtual_clock.run(run()) == 0.0


def test_two_speakers_without_pauses_take_turns_and_the_second_begins_with_its_newest_speech() -> None:
    async def run() -> None:
        async with Stage(1).open() as stage:
            first, second = stage.talker(), stage.talker()
            speaking = [asyncio.create_task(talker.say(50)) for talker in (first, second)]
            await asyncio.sleep(29)
            assert (first.open_streams, second.open_streams) == (1, 0)
            await asyncio.sleep(3)
            assert (first.open_streams, second.open_streams) == (0, 1)
            assert 32 - 31 + WAITING_S <= second.transcribed_s <= 32 - 30 + WAITING_S + 0.3
            await asyncio.gather(*speaking)

    virtual_clock.run(run())


def test_without_a_gate_silence_is_transcribed_but_takes_no_slot_from_a_speaker() -> None:
    async def run() -> None:
        async with Stage(1).open() as stage:
            silent, speaker = stage.talker("a", gate=False), stage.talker("b", gate=False)
            await silent.hush(5)
            assert stage.capacity.slots == 0
            hushing = asyncio.create_task(silent.hush(40))
            await speaker.say(2)
            await speaker.hush(3)
            assert speaker.open_streams == 1
            assert speaker.transcribed_s >= 4.5
            # The detector, not the gate, says what speech is.
            assert speaker.backend.streams[0].speech / SAMPLE_RATE == pytest.approx(2.0 + 0.55, abs=0.3)
            await silent.say(1)
            assert (stage.capacity.slots, stage.capacity.speakers_waiting) == (1, 0 if silent.open_streams else 1)
            await hushing

    virtual_clock.run(run())


def test_audio_without_speech_need_not_be_decoded() -> None:
    async def run() -> None:
        async with Stage(1).open() as stage:
            talker = stage.talker()
            await asyncio.sleep(0.1)
            assert talker.quiet == [False]
            await talker.hush(3.1)
            assert talker.quiet == [False, False, False], "each suspicion is over after one and a half seconds"
            await talker.say(1)
            await talker.hush(20)
            assert len(talker.quiet) == 3, "not while a stream is open"
            await talker.hush(5)
            assert talker.quiet[3:] == [True, False]

    virtual_clock.run(run())

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Frames in, captions out: what one speaker's transcriber does with speech, silence, failures and the end."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.errors import SttError, SttUnavailable
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.transcriber import Transcriber
from live_transcription.transcript import Hypothesis, Pause, Token, Utterance
from live_transcription.types import SAMPLE_RATE, Caption, Frame
from live_transcription.vad.gate import SilenceGate
from sandbox import virtual_clock
from tests.fakes.stt import FakeBackend, FakeStream

FRAME = 1920
SPEECH = np.full(FRAME, 0.5, dtype=np.float32)
SILENCE = np.zeros(FRAME, dtype=np.float32)


class LoudIsSpeech:
    def probability(self, frame: Frame) -> float:
        return 1.0 if float(np.abs(frame).max()) > 0.1 else 0.0

    def reset(self) -> None:
        pass


class Rig:
    """A transcriber with a fake backend. `say` and `hush` put audio into its queue and wait until it was processed."""

    def __init__(self) -> None:
        self.frames = FrameQueue(30.0)
        self.backend = FakeBackend()
        self.captions: list[Caption] = []
        self.errors: list[SttError] = []
        self.ended: list[Utterance] = []
        captioner = Captioner("speaker-1", "en", self.captions.append, self.ended.append)
        self.transcriber = Transcriber(
            self.frames, SilenceGate(LoudIsSpeech()), self.backend, captioner, "en", on_error=self.errors.append
        )

    async def put(self, frame: Frame, seconds: float) -> None:
        for _ in range(round(seconds / 0.08)):
            self.frames.put(frame)
        await self.settle()

    async def say(self, seconds: float) -> None:
        await self.put(SPEECH, seconds)

    async def hush(self, seconds: float) -> None:
        await self.put(SILENCE, seconds)

    async def settle(self) -> None:
        while self.frames.buffered_s > 0:  # noqa: ASYNC110  there is no event for an empty queue
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def utterances(self) -> list[tuple[str, str]]:
        """Text and language of the ended utterances, all words of which were committed."""
        assert " ".join(caption.text for caption in self.captions) == " ".join(each.text for each in self.ended)
        return [(utterance.text, utterance.language) for utterance in self.ended]


@pytest.fixture
async def rig(monkeypatch):
    monkeypatch.setattr("live_transcription.speaker.transcriber.RETRY_S", (0.0, 0.0))
    rig = Rig()
    task = asyncio.create_task(rig.transcriber.run())
    yield rig
    rig.transcriber.close()
    await asyncio.wait_for(task, 5)


async def test_silence_opens_no_stream(rig: Rig) -> None:
    await rig.hush(10)
    assert rig.backend.streams == []


async def test_words_come_during_speech_and_the_rest_of_them_at_the_pause(rig: Rig) -> None:
    await rig.hush(1)
    await rig.say(2)
    assert [caption.text for caption in rig.captions] == ["speech 1"]
    await rig.hush(1)
    assert [caption.text for caption in rig.captions] == ["speech 1", "begins and ends 1"]
    assert rig.utterances == [("speech 1 begins and ends 1", "en")]


async def test_the_audio_just_before_speech_is_sent_too(rig: Rig) -> None:
    await rig.hush(2)
    await rig.say(1)
    assert rig.backend.streams[0].acknowledged_s >= 1.3


async def test_the_stream_knows_which_audio_is_speech(rig: Rig) -> None:
    for _ in range(3):
        await rig.hush(2)
        await rig.say(2)
        await rig.hush(1)
    (stream,) = rig.backend.streams
    # The pre-roll does not count. The silence that ends a speech does, since it is only recognised afterwards.
    assert stream.speech / SAMPLE_RATE == pytest.approx(3 * (2.0 + 0.55), abs=0.5)
    assert stream.acknowledged_s > stream.speech / SAMPLE_RATE + 3 * 0.4


async def test_one_stream_serves_several_utterances(rig: Rig) -> None:
    for _ in range(3):
        await rig.say(1)
        await rig.hush(1)
    assert len(rig.backend.streams) == 1
    assert [text for text, _ in rig.utterances] == [
        "speech 1 begins and ends 1",
        "speech 1 begins and ends 2",
        "speech 1 begins and ends 3",
    ]


async def test_long_silence_closes_the_stream(rig: Rig) -> None:
    await rig.say(1)
    await rig.hush(24)
    assert rig.backend.streams[0].closed
    await rig.say(1)
    assert len(rig.backend.streams) == 2


async def test_a_busy_stream_is_not_closed_in_silence(rig: Rig) -> None:
    def be_busy(stream: FakeStream) -> None:
        stream.busy = True

    rig.backend.prepare = be_busy
    await rig.say(1)
    await rig.hush(40)
    assert not rig.backend.streams[0].closed
    rig.backend.streams[0].busy = False
    await rig.hush(1)
    assert rig.backend.streams[0].closed


async def test_the_last_words_are_committed_when_the_audio_ends_in_mid_sentence() -> None:
    rig = Rig()
    task = asyncio.create_task(rig.transcriber.run())
    await rig.say(1)
    rig.transcriber.close()
    await asyncio.wait_for(task, 5)
    assert [text for text, _ in rig.utterances] == ["speech 1 begins"]
    assert rig.backend.streams[0].closed


async def test_the_words_of_a_failed_stream_stay_and_the_next_speech_opens_another(rig: Rig) -> None:
    await rig.say(1)
    rig.backend.streams[0].emitted.put_nowait(SttUnavailable("The server went away."))
    await rig.settle()
    assert [text for text, _ in rig.utterances] == ["speech 1 begins"]
    assert [error.code for error in rig.errors] == ["stt_unavailable"]
    await asyncio.sleep(0)
    await rig.say(1)
    await rig.hush(1)
    assert [text for text, _ in rig.utterances] == ["speech 1 begins", "speech 2 begins and ends 1"]


async def test_a_backend_that_refuses_is_tried_again_while_speech_continues(rig: Rig) -> None:
    refusals = [SttUnavailable("Not yet."), SttUnavailable("Not yet.")]

    def refuse() -> None:
        if refusals:
            raise refusals.pop()

    rig.backend.refuse = refuse
    await rig.say(2)
    await rig.hush(1)
    assert len(rig.errors) == 2
    assert [text for text, _ in rig.utterances] == ["speech 1 begins and ends 1"]


async def test_a_change_of_language_finishes_the_old_words_in_the_old_language(rig: Rig) -> None:
    await rig.say(1)
    rig.transcriber.language = "fr"
    await rig.say(1)
    await rig.hush(1)
    assert [stream.language for stream in rig.backend.streams] == ["en", "fr"]
    assert rig.utterances == [("speech 1 begins", "en"), ("speech 2 begins and ends 1", "fr")]


def numbered(first: int, count: int) -> list[Frame]:
    return [np.full(FRAME, 0.2 + number / 1024, dtype=np.float32) for number in range(first, first + count)]


async def test_speech_after_a_change_of_language_never_reaches_the_old_stream(rig: Rig) -> None:
    await rig.say(1)
    [english] = rig.backend.streams
    sent_s = english.acknowledged_s
    rig.transcriber.language = "fr"
    await rig.say(1)
    assert english.acknowledged_s == sent_s
    assert rig.backend.streams[1].acknowledged_s == pytest.approx(1.0, abs=0.08)


async def test_frames_reach_the_stream_in_order_without_loss(rig: Rig) -> None:
    for number, frame in enumerate(numbered(0, 60)):
        rig.frames.put(frame)
        if number % 7 == 0:
            await rig.settle()
    await rig.settle()
    (stream,) = rig.backend.streams
    assert [round((float(frame[0]) - 0.2) * 1024) for frame in stream.frames] == list(range(60))


async def test_a_fault_of_the_stream_fails_the_speaker_and_not_the_receive_path(monkeypatch) -> None:
    async def broken(stream: FakeStream, frame: Frame) -> None:
        del stream, frame
        raise ValueError("a fault of ours")

    rig = Rig()
    task = asyncio.create_task(rig.transcriber.run())
    await rig.say(1)
    monkeypatch.setattr(FakeStream, "send", broken)
    rig.frames.put(SPEECH)
    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(task, 5)
    assert raised.group_contains(ValueError, match="a fault of ours")
    assert rig.backend.streams[0].closed


def leave_in_mid_sentence(last_words_after_s: float | None) -> tuple[list[str], float]:
    """The utterances of a speaker who leaves during the call, and the seconds until the transcriber ended."""

    async def run() -> tuple[list[str], float]:
        rig = Rig()
        rig.backend.prepare = lambda stream: setattr(stream, "never_ends", True)
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(rig.transcriber.run())
        await rig.say(1)
        left_at = loop.time()
        rig.transcriber.close()
        if last_words_after_s is not None:
            await asyncio.sleep(last_words_after_s)
            emitted = rig.backend.streams[0].emitted
            emitted.put_nowait(Hypothesis("speech 1 begins and so on", final=True))
            emitted.put_nowait(None)
        await task
        assert rig.backend.streams[0].closed
        return [text for text, _ in rig.utterances], loop.time() - left_at

    return virtual_clock.run(run())


def test_a_busy_engine_delivers_the_last_words_of_a_departed_speaker() -> None:
    assert leave_in_mid_sentence(last_words_after_s=8.0) == (["speech 1 begins and so on"], pytest.approx(8.0))


def test_a_stream_that_never_ends_is_cut_off_and_its_words_stay() -> None:
    assert leave_in_mid_sentence(last_words_after_s=None) == (["speech 1 begins"], pytest.approx(10.0))


async def test_audio_that_stops_in_mid_speech_ends_the_utterance(rig: Rig, monkeypatch) -> None:
    monkeypatch.setattr("live_transcription.speaker.gated_frames.STALL_S", 0.0)
    await rig.say(1)
    await asyncio.sleep(0.01)
    assert [text for text, _ in rig.utterances] == ["speech 1 begins and ends 1"]


def test_words_that_waited_for_a_stream_keep_the_time_at_which_they_were_spoken() -> None:
    async def run() -> Utterance:
        rig, loop = Rig(), asyncio.get_running_loop()
        captioner = Captioner("speaker-1", "en", rig.captions.append, rig.ended.append, wall_clock=loop.time)
        transcriber = Transcriber(
            rig.frames, SilenceGate(LoudIsSpeech()), rig.backend, captioner, "en", on_error=rig.errors.append
        )

        def refuse() -> None:
            if loop.time() < 20:
                raise SttUnavailable("Not yet.")

        rig.backend.refuse = refuse
        task = asyncio.create_task(transcriber.run())
        while not any(utterance.text == "late" for utterance in rig.ended):
            await asyncio.sleep(FRAME / SAMPLE_RATE)
            rig.frames.put(SPEECH if 5 <= loop.time() < 8 else SILENCE)
            if loop.time() > 30:
                rig.backend.streams[0].emitted.put_nowait(Token("late", True, 0.2, 2.2))
                rig.backend.streams[0].emitted.put_nowait(Pause())
        transcriber.close()
        await task
        return next(utterance for utterance in rig.ended if utterance.text == "late")

    utterance = virtual_clock.run(run(), loopback_s=0)
    assert 5.0 <= utterance.started_at <= 6.0
    assert 7.0 <= utterance.ended_at <= 8.0

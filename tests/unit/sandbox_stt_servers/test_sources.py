# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from live_transcription.stt.base import Flushed, Hypothesis, SttEvent, SttStream
from live_transcription.types import Frame
from sandbox import recording
from sandbox.stt_servers.fleet import Fleet
from sandbox.stt_servers.located import located
from sandbox.stt_servers.transcribed import TranscribedWords
from sandbox.stt_servers.words import FRAME_SAMPLES, HeardWord, ScriptedWords, WordSource, evenly, words_of


def frames(samples: np.ndarray) -> Iterator[Frame]:
    for begin in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        yield samples[begin : begin + FRAME_SAMPLES]


def test_scripted_words_come_when_their_time_has_come_and_once() -> None:
    source = ScriptedWords(evenly("one two three", start_s=0.0, word_s=0.5))
    assert [word.text for word in source.take_words(0.4)] == []
    assert [word.text for word in source.take_words(1.0)] == ["one", "two"]
    assert [word.text for word in source.take_words(9.0)] == ["three"]
    assert source.take_words(9.0) == []


@pytest.mark.parametrize("name", recording.names())
def test_a_recordings_words_lie_within_its_speech_and_in_order(name: str) -> None:
    found = recording.load(name)
    words = words_of(found)
    assert " ".join(word.text for word in words) == found.text
    stretches = [stretch for utterance in found.utterances for stretch in utterance.speech]
    assert all(word.start_s < word.end_s for word in words)
    assert all(before.end_s <= after.start_s + 1e-6 for before, after in itertools.pairwise(words))
    assert all(any(start <= word.end_s <= end + 1e-6 for start, end in stretches) for word in words)


@asynccontextmanager
async def locating(*names: str) -> AsyncIterator[WordSource]:
    async with located([recording.load(name) for name in names])(lambda: None) as source:
        yield source


async def test_a_recording_is_found_again_with_its_pauses_left_out_and_its_level_changed() -> None:
    found = recording.load("en-conference")
    pcm = found.pcm(24_000)
    noise = np.random.default_rng(7)
    async with locating(*recording.names()) as source:
        expected: list[HeardWord] = []
        # Each utterance from 0.3 s before it begins to 0.2 s after, as a silence gate sends them, with faint noise.
        parts = []
        for utterance in found.utterances[2:8]:
            begin, end = int((utterance.start_s - 0.3) * 24_000), int((utterance.end_s + 0.2) * 24_000)
            parts.append(pcm[begin:end])
            expected += [word for word in words_of(found) if utterance.start_s <= word.end_s <= utterance.end_s]
        samples = 0.4 * np.concatenate(parts) + noise.normal(0, 0.0005, sum(map(len, parts))).astype(np.float32)
        for frame in frames(samples.astype(np.float32)):
            source.feed(frame)
        heard = source.take_words(1e9)
        assert [word.text for word in heard] == [word.text for word in expected]


async def test_it_begins_anywhere_and_a_replay_is_heard_again() -> None:
    found = recording.load("en-novel")
    pcm = found.pcm(24_000)
    begin_s = 9.5
    async with locating("en-novel", "en-conference") as source:
        piece = pcm[int(begin_s * 24_000) : int(17.7 * 24_000)]
        for frame in frames(np.concatenate([piece, piece]).astype(np.float32)):
            source.feed(frame)
        heard = [word.text for word in source.take_words(1e9)]
    once = [word.text for word in words_of(found) if begin_s + 0.1 < word.end_s < 17.7]
    assert heard[-len(once) :] == once
    assert len(heard) >= 2 * len(once) - 2


async def test_what_is_in_no_recording_has_no_words() -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, 24_000 * 3).astype(np.float32)
    async with locating("en-short") as source:
        for frame in frames(noise):
            source.feed(frame)
        assert source.take_words(1e9) == []


class _Loudness:
    def probability(self, frame: Frame) -> float:
        return float(np.abs(frame).max() > 0.1)

    def reset(self) -> None:
        pass


class _Engine(SttStream):
    """Emits given words at given times."""

    def __init__(self) -> None:
        self.samples = 0
        self.flushes = 0
        self.said: list[SttEvent] = []

    async def send(self, frame: Frame) -> None:
        self.samples += len(frame)

    async def flush(self) -> None:
        self.flushes += 1

    async def end(self) -> None:
        pass

    async def events(self) -> AsyncIterator[SttEvent]:
        for event in self.said:
            yield event


async def hear(words: TranscribedWords, engine: _Engine, samples: np.ndarray) -> None:
    """Feed it and let its pump run dry."""
    pump = asyncio.create_task(words.pump(engine))
    for frame in frames(samples):
        words.feed(frame)
    for _ in range(200):
        await asyncio.sleep(0)
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)


LOUD = np.full(24_000 * 2, 0.5, np.float32)
QUIET = np.zeros(24_000 * 2, np.float32)


async def test_an_engines_guesses_become_words_once_they_agree_and_the_model_waits_for_them() -> None:
    engine = _Engine()
    words = TranscribedWords(_Loudness(), lambda: None)
    await hear(words, engine, np.concatenate([QUIET, LOUD]))
    assert 1.0 < words.settled_s < 2.1
    engine.said = [Hypothesis("good morn", False, 0.5, 1.4), Hypothesis("good morning every", False, 0.5, 2.0)]
    await words.read(engine)
    assert [word.text for word in words.take_words(99)] == ["good"]
    await hear(words, engine, QUIET)
    assert engine.flushes == 1
    waiting = words.settled_s
    engine.said = [Hypothesis("Good morning, everybody.", True, 0.5, 2.6), Flushed()]
    await words.read(engine)
    assert [word.text for word in words.take_words(99)] == ["morning,", "everybody."]
    assert words.settled_s > waiting + 1


async def test_times_are_those_of_the_session_although_the_engine_hears_speech_only() -> None:
    engine = _Engine()
    words = TranscribedWords(_Loudness(), lambda: None)
    await hear(words, engine, np.concatenate([LOUD, QUIET, QUIET, LOUD, QUIET]))
    sent_s = engine.samples / 24_000
    engine.said = [
        Hypothesis("one", True, 0.0, 2.0),
        Flushed(),
        Hypothesis("two", True, sent_s - 2.4, sent_s - 0.4),
        Flushed(),
    ]
    await words.read(engine)
    one, two = words.take_words(99)
    assert one.end_s == pytest.approx(2.0, abs=0.1)
    assert two.end_s == pytest.approx(8.0, abs=0.2)
    assert words.settled_s > 9.5


async def test_a_final_that_words_it_anew_repeats_nothing() -> None:
    engine = _Engine()
    words = TranscribedWords(_Loudness(), lambda: None)
    await hear(words, engine, LOUD)
    engine.said = [
        Hypothesis("he was not an ill disposed", False, 0.0, 1.5),
        Hypothesis("he was not an ill disposed young", False, 0.0, 1.8),
        Hypothesis("He was not, an ill-disposed young man.", True, 0.0, 2.0),
    ]
    await words.read(engine)
    said = [word.text for word in words.take_words(99)]
    assert said[:5] == ["he", "was", "not", "an", "ill"]
    assert said[-2:] == ["young", "man."]
    assert len(said) == 8


def test_a_fleet_fills_its_containers_before_it_starts_another_and_lets_idle_ones_go() -> None:
    fleet = Fleet(slots=2, max_containers=2, cold_start_s=30.0, scaledown_s=120.0)
    first, second, third = fleet.admit(0.0), fleet.admit(1.0), fleet.admit(2.0)
    assert first is not None
    assert third is not None
    assert first is second
    assert first.ready_at == 30.0
    assert third.ready_at == 32.0
    assert fleet.admit(3.0) is third
    assert fleet.admit(4.0) is None
    fleet.release(first, 50.0)
    assert fleet.admit(51.0) is first
    for container in (first, first, third, third):
        fleet.release(container, 60.0)
    assert fleet.running(100.0) == 2
    assert fleet.running(181.0) == 0
    again = fleet.admit(182.0)
    assert again is not None
    assert again.ready_at == 212.0

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import functools
import importlib.util
import logging
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from live_transcription.types import SAMPLE_RATE
from live_transcription.vad import detector as vad
from live_transcription.vad.gate import OpenStream, SilenceGate, Speech
from live_transcription.vad.lazy_silero import SileroDetector
from live_transcription.vad.silero import open_session
from sandbox import recording
from sandbox.speech_segments import Samples, Segment, always_on, music, segments, typing

FRAME_S = 0.08


def noise(seconds: float, level: float) -> Samples:
    return np.random.default_rng(7).normal(0.0, level, round(seconds * SAMPLE_RATE)).astype(np.float32)


class CountingSession:
    """A session that counts the windows that it processes."""

    def __init__(self) -> None:
        self._session = open_session()
        self.windows = 0

    def run(self, output_names: list[str] | None, input_feed: dict[str, Samples]) -> Any:
        self.windows += len(input_feed["input"])
        return self._session.run(output_names, input_feed)


def silero() -> SileroDetector:
    pytest.importorskip("onnxruntime")
    found = vad.voice_activity_detector()
    assert isinstance(found, SileroDetector)
    return found


def assert_alike(found: list[Segment], wanted: list[Segment], frames: int = 2) -> None:
    """Compare segments: starts within one frame, ends within `frames` frames."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.start_s == pytest.approx(other.start_s, abs=1.01 * FRAME_S)
        assert one.end_s == pytest.approx(other.end_s, abs=(frames + 0.01) * FRAME_S)


@pytest.mark.parametrize("name", ["en-short", "fr-short"])
@pytest.mark.parametrize("kind", ["silero", "energy"])
def test_speech_is_distinguished_from_the_silence_around_it(kind: str, name: str) -> None:
    clip = recording.load(name)
    utterance = clip.utterances[0]
    found = segments(silero() if kind == "silero" else vad.EnergyDetector(), clip.pcm(SAMPLE_RATE))
    assert utterance.start_s - 0.15 <= found[0].start_s <= utterance.start_s + 0.4
    assert utterance.end_s + 0.3 <= found[-1].end_s <= utterance.end_s + 1.0


@pytest.mark.parametrize("gain_db", [0, -30])
@pytest.mark.parametrize("name", ["en-conference", "fr-conference", "en-novel"])
def test_segments_match_those_of_the_network_on_every_frame(name: str, gain_db: int) -> None:
    pytest.importorskip("onnxruntime")
    samples = recording.load(name).pcm(SAMPLE_RATE)[: 30 * SAMPLE_RATE]
    wanted = segments(always_on(), samples)
    assert len(wanted) > 1
    found = segments(silero(), samples * np.float32(10 ** (gain_db / 20)))
    assert_alike(found, wanted, frames=2 if gain_db == 0 else 3)


def test_speech_in_noise_and_its_end_are_found() -> None:
    pytest.importorskip("onnxruntime")
    samples = recording.load("en-conference").pcm(SAMPLE_RATE)[: 30 * SAMPLE_RATE]
    noisy = samples + noise(30.0, 0.02)
    assert_alike(segments(silero(), noisy), segments(always_on(), noisy))


def test_speech_right_after_a_pause_begins_a_new_segment() -> None:
    clip = recording.load("en-short")
    spoken = clip.pcm(SAMPLE_RATE)[
        round(clip.utterances[0].start_s * SAMPLE_RATE) : round(clip.utterances[0].end_s * SAMPLE_RATE)
    ]
    pause = np.zeros(round(0.9 * SAMPLE_RATE), np.float32)
    found = segments(silero(), np.concatenate([spoken, pause, spoken, pause]))
    again_s = (len(spoken) + len(pause)) / SAMPLE_RATE
    assert any(again_s <= segment.start_s <= again_s + 0.3 for segment in found)


@pytest.mark.parametrize("seconds", [0.02, 0.2])
def test_frames_of_other_lengths_make_the_same_segments(seconds: float) -> None:
    samples = recording.load("en-short").pcm(SAMPLE_RATE)
    wanted = segments(silero(), samples)
    found = segments(silero(), samples, round(seconds * SAMPLE_RATE))
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.start_s == pytest.approx(other.start_s, abs=0.25)
        assert one.end_s == pytest.approx(other.end_s, abs=0.35)


@pytest.mark.parametrize("kind", ["silero", "energy"])
@pytest.mark.parametrize("level", [0.0, 0.001])
def test_silence_and_faint_noise_are_no_speech(kind: str, level: float) -> None:
    detector = silero() if kind == "silero" else vad.EnergyDetector()
    assert segments(detector, noise(5.0, level)) == []


def test_loud_steady_noise_is_no_speech_for_silero() -> None:
    assert segments(silero(), noise(20.0, 0.05)) == []


def test_loud_steady_noise_is_no_speech_for_the_energy_detector_after_a_while() -> None:
    detector = vad.EnergyDetector()
    hiss = noise(20.0, 0.05)
    found = [detector.probability(hiss[at : at + 1920]) for at in range(0, len(hiss) - 1919, 1920)]
    assert max(found[-60:]) < 0.35


def test_speech_ends_when_steady_noise_as_loud_as_it_follows() -> None:
    clip = recording.load("en-short")
    spoken = clip.pcm(SAMPLE_RATE)[: round(clip.utterances[0].end_s * SAMPLE_RATE)]
    samples = np.concatenate([spoken, noise(3.0, 0.05)])
    found = segments(silero(), samples)
    assert found[-1].end_s <= clip.utterances[0].end_s + 1.0


def test_speech_no_louder_than_the_noise_before_it_is_found() -> None:
    spoken = recording.load("en-conference").pcm(SAMPLE_RATE)[: 10 * SAMPLE_RATE]
    level = float(np.sqrt(np.mean(np.square(spoken))))
    found = segments(silero(), np.concatenate([noise(3.0, 3 * level), spoken]))
    wanted = segments(silero(), spoken)
    assert found[0].start_s - 3.0 <= wanted[0].start_s + 0.5


@pytest.mark.parametrize("sound", [music, typing])
def test_speech_ends_in_time_when_a_loud_sound_follows(sound: Callable[[int], Samples]) -> None:
    clip = recording.load("en-short")
    end_s = clip.utterances[0].end_s
    samples = np.concatenate([clip.pcm(SAMPLE_RATE)[: round(end_s * SAMPLE_RATE)], sound(4 * SAMPLE_RATE)])
    found = segments(silero(), samples)
    assert found[-1].end_s <= end_s + 1.3


def test_digital_silence_costs_the_network_nothing_and_speech_a_seventh_of_all_windows() -> None:
    pytest.importorskip("onnxruntime")
    session = CountingSession()
    segments(SileroDetector(session), np.zeros(10 * SAMPLE_RATE, np.float32))
    assert session.windows == 0
    samples = recording.load("fr-conference").pcm(SAMPLE_RATE)
    segments(SileroDetector(session), samples)
    assert session.windows < len(samples) / SAMPLE_RATE / 0.032 / 7


@pytest.mark.parametrize("sound", [music, typing])
def test_loud_sounds_cost_a_fifth_of_all_windows(sound: Callable[[int], Samples]) -> None:
    pytest.importorskip("onnxruntime")
    session = CountingSession()
    assert segments(SileroDetector(session), sound(20 * SAMPLE_RATE)) == []
    assert session.windows < 20.0 / 0.032 / 5


def test_steady_noise_costs_the_network_next_to_nothing() -> None:
    pytest.importorskip("onnxruntime")
    session = CountingSession()
    segments(SileroDetector(session), noise(20.0, 0.02))
    assert session.windows < 20


def test_speakers_do_not_share_state() -> None:
    samples = recording.load("en-short").pcm(SAMPLE_RATE)
    alone = segments(silero(), samples)
    first, second = silero(), silero()
    together, begun = [], False
    for at in range(0, len(samples) - 1919, 1920):
        for detector, frame in ((second, noise(0.08, 0.1)), (first, samples[at : at + 1920])):
            detector.push(frame)
        second.speech_for(0.12)
        was, begun = begun, not first.silence_for(0.55) if begun else first.speech_for(0.12)
        if begun and not was:
            together.append((at + 1920) / SAMPLE_RATE)
    assert together == [segment.start_s for segment in alone]


def test_a_stream_lost_in_mid_speech_is_opened_again_within_three_frames() -> None:
    gate = SilenceGate(silero())
    samples = recording.load("en-conference").pcm(SAMPLE_RATE)
    frames = [samples[at : at + 1920] for at in range(0, 10 * SAMPLE_RATE, 1920)]
    pushed = iter(frames)
    while not gate.speaking:
        gate.push(next(pushed))
    for _ in range(10):
        gate.push(next(pushed))
    gate.reset()
    actions = [action for _ in range(3) for action in gate.push(next(pushed))]
    assert [type(action) for action in actions[:2]] == [OpenStream, Speech]


def test_a_reset_detector_behaves_like_a_new_one() -> None:
    samples = recording.load("en-short").pcm(SAMPLE_RATE)
    detector = silero()
    first = segments(detector, samples)
    detector.reset()
    assert segments(detector, samples) == first


def test_few_frames_are_buffered_however_long_a_silence_is_asked_for() -> None:
    detector = silero()
    samples = recording.load("en-conference").pcm(SAMPLE_RATE)
    frames: list[weakref.ref[Samples]] = []
    for at in range(0, 20 * SAMPLE_RATE, 1920):
        frame = samples[at : at + 1920].copy()
        frames.append(weakref.ref(frame))
        detector.push(frame)
        del frame
        detector.silence_for(5.0)
        assert sum(found() is not None for found in frames) * FRAME_S <= 0.8 + FRAME_S, "and the one before the buffer"


def test_without_faster_whisper_the_energy_detector_is_used_and_one_warning_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vad, "shared_session", functools.cache(vad.shared_session.__wrapped__))
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name == "faster_whisper" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with caplog.at_level(logging.WARNING):
        assert isinstance(vad.voice_activity_detector(), vad.EnergyDetector)
        assert isinstance(vad.voice_activity_detector(), vad.EnergyDetector)
    assert len(caplog.records) == 1
    assert "embedded" in caplog.text

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from live_transcription.audio import vad
from live_transcription.types import SAMPLE_RATE
from sandbox import recording

Samples = npt.NDArray[np.float32]


def probabilities(detector: vad.Detector, samples: Samples, frame: int = 1920) -> list[float]:
    return [detector.probability(samples[at : at + frame]) for at in range(0, len(samples) - frame + 1, frame)]


def noise(seconds: float, level: float) -> Samples:
    return np.random.default_rng(7).normal(0.0, level, round(seconds * SAMPLE_RATE)).astype(np.float32)


@pytest.fixture(params=["silero", "energy"])
def detector(request: pytest.FixtureRequest) -> vad.Detector:
    if request.param == "energy":
        return vad.EnergyDetector()
    pytest.importorskip("onnxruntime")
    found = vad.voice_activity_detector()
    assert isinstance(found, vad.SileroDetector)
    return found


@pytest.mark.parametrize("name", ["en-short", "fr-short"])
def test_speech_is_told_from_the_silence_around_it(detector: vad.Detector, name: str) -> None:
    clip = recording.load(name)
    utterance = clip.utterances[0]
    found = probabilities(detector, clip.pcm(SAMPLE_RATE))
    before = found[: int((utterance.start_s - 0.15) / 0.08)]
    during = found[int((utterance.start_s + 0.4) / 0.08) : int(utterance.end_s / 0.08)]
    after = found[int((utterance.end_s + 0.3) / 0.08) + 1 :]
    assert max(before) < 0.35
    assert np.mean(np.asarray(during) > 0.5) > 0.8
    assert max(after) < 0.35


def test_silence_and_faint_noise_are_no_speech(detector: vad.Detector) -> None:
    assert max(probabilities(detector, np.zeros(SAMPLE_RATE, np.float32))) < 0.1
    assert max(probabilities(detector, noise(3.0, 0.001))) < 0.35


def test_loud_steady_noise_is_no_speech_for_silero_at_once_and_for_loudness_in_time() -> None:
    pytest.importorskip("onnxruntime")
    hiss = noise(20.0, 0.05)
    assert max(probabilities(vad.voice_activity_detector(), hiss)) < 0.5
    assert max(probabilities(vad.EnergyDetector(), hiss)[-60:]) < 0.35


def test_the_length_of_frames_makes_no_difference_to_silero() -> None:
    pytest.importorskip("onnxruntime")
    samples = recording.load("en-short").pcm(SAMPLE_RATE)
    short, long = vad.voice_activity_detector(), vad.voice_activity_detector()
    fine = probabilities(short, samples, 480)
    coarse = probabilities(long, samples, 4800)
    for index, value in enumerate(coarse[:-1]):
        assert max(fine[index * 10 : index * 10 + 10]) >= value - 1e-3


def test_speakers_do_not_share_state() -> None:
    pytest.importorskip("onnxruntime")
    samples = recording.load("en-short").pcm(SAMPLE_RATE)
    alone = probabilities(vad.voice_activity_detector(), samples)
    first, second = vad.voice_activity_detector(), vad.voice_activity_detector()
    together = []
    for at in range(0, len(samples) - 1919, 1920):
        second.probability(noise(0.08, 0.1))
        together.append(first.probability(samples[at : at + 1920]))
    assert together == pytest.approx(alone)


def test_reset_makes_a_detector_as_new() -> None:
    pytest.importorskip("onnxruntime")
    samples = recording.load("en-short").pcm(SAMPLE_RATE)[: 2 * SAMPLE_RATE]
    detector = vad.voice_activity_detector()
    first = probabilities(detector, samples)
    detector.reset()
    assert probabilities(detector, samples) == pytest.approx(first)


def test_without_faster_whisper_loudness_serves_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vad, "_session", None)
    monkeypatch.setattr(vad, "_missing", False)
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name == "faster_whisper" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with caplog.at_level(logging.WARNING):
        assert isinstance(vad.voice_activity_detector(), vad.EnergyDetector)
        assert isinstance(vad.voice_activity_detector(), vad.EnergyDetector)
    assert len(caplog.records) == 1
    assert "embedded" in caplog.text

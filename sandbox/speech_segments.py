# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Segments of speech in audio, by the silence gate over any detector, and sounds that are not speech."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.gate import Detector, Flush, OpenStream, SilenceGate, Speech
from live_transcription.vad.silero import Session, open_session

Samples = npt.NDArray[np.float32]

FRAME = SAMPLE_RATE * 80 // 1000
_RATE, _WINDOW, _CONTEXT = 16_000, 512, 64


class Segment(NamedTuple):
    """Speech as the gate reports it: when it was sure of the beginning and of the end, in seconds."""

    start_s: float
    end_s: float


class EveryFrame:
    """Silero VAD as it is meant to be used: on every window, with the state of the one before it. For comparison."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reset()

    def reset(self) -> None:
        self._resampler = soxr.ResampleStream(SAMPLE_RATE, _RATE, 1, dtype="float32", quality="LQ")
        self._rest: Samples = np.zeros(_CONTEXT, np.float32)
        self._h: Samples = np.zeros((1, 1, 128), np.float32)
        self._c: Samples = np.zeros((1, 1, 128), np.float32)
        self._last = 0.0

    def probability(self, frame: Frame) -> float:
        samples = np.concatenate([self._rest, self._resampler.resample_chunk(frame)])
        count = (len(samples) - _CONTEXT) // _WINDOW
        self._rest = samples[count * _WINDOW :]
        if count:
            windows = np.lib.stride_tricks.sliding_window_view(samples, _CONTEXT + _WINDOW)[::_WINDOW][:count]
            inputs = {"input": np.ascontiguousarray(windows), "h": self._h, "c": self._c}
            found, self._h, self._c = self._session.run(None, inputs)
            self._last = float(np.max(found))
        return self._last


def always_on() -> EveryFrame:
    """Create a detector that runs the network on every window."""
    return EveryFrame(open_session())


def segments(detector: Detector, samples: Samples, frame: int = FRAME) -> list[Segment]:
    """Return the segments that the gate finds in 24 kHz samples, pushed in frames of `frame` samples."""
    gate = SilenceGate(detector)
    found: list[Segment] = []
    start_s: float | None = None
    for at in range(0, len(samples) - frame + 1, frame):
        for action in gate.push(samples[at : at + frame]):
            now_s = (at + frame) / SAMPLE_RATE
            if isinstance(action, OpenStream | Speech) and start_s is None:
                start_s = now_s
            elif isinstance(action, Flush) and start_s is not None:
                found.append(Segment(start_s, now_s))
                start_s = None
    if start_s is not None:
        found.append(Segment(start_s, len(samples) / SAMPLE_RATE))
    return found


def typing(count: int) -> Samples:
    """Return `count` samples of bursts of noise that decay within some milliseconds, 0.08 to 0.3 s apart."""
    random = np.random.default_rng(2)
    found = np.zeros(count, np.float32)
    at = 0
    while (at := at + int(random.uniform(0.08, 0.3) * SAMPLE_RATE)) + 800 <= count:
        found[at : at + 800] = (
            random.normal(size=800) * np.exp(-np.arange(800) / random.uniform(60, 160)) * random.uniform(0.05, 0.25)
        )
    return found


def music(count: int) -> Samples:
    """Return `count` samples of chords of plucked tones, four per second."""
    random = np.random.default_rng(3)
    time_s = np.arange(count) / SAMPLE_RATE
    found = np.zeros(count)
    note = SAMPLE_RATE // 4
    for at in range(0, count - note + 1, note):
        for pitch in random.choice([220, 262, 294, 330, 392, 440, 523], 3, replace=False):
            for harmonic in range(1, 5):
                found[at : at + note] += (
                    np.sin(2 * np.pi * pitch * harmonic * time_s[:note]) * np.exp(-6 * time_s[:note]) / harmonic
                )
    return np.asarray(found * 0.05, np.float32)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Create voice activity detectors: Silero VAD, or a measure of loudness if it is not installed.

Silero VAD v6 needs faster-whisper, which ships the network, and onnxruntime. `silero` runs the network, `lazy_silero` decides
when. All detectors share one onnxruntime session, so a speaker costs a few numbers and the last three frames.
"""

from __future__ import annotations

import functools
import logging
import threading

import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.lazy_silero import SileroDetector, SileroSample
from live_transcription.vad.silero import Session, open_session

logger = logging.getLogger(__name__)


class EnergyDetector:
    """Detects sound above a noise floor, which falls to quieter frames at once and rises by 5 dB per second.

    It keeps silence from being transcribed. Unlike Silero, it takes intermittent noise (keyboards, music) for speech.
    """

    #: Level below which nothing is speech, and the lowest noise floor, in dBFS.
    QUIET_DB = -50.0
    FLOOR_DB = -70.0
    #: Levels above the noise floor, in dB, at which the probability is 0 and 1.
    RANGE_DB = (8.0, 20.0)
    RISE_DB_PER_S = 5.0

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the audio so far, since the next frame does not continue it."""
        self._floor = self.FLOOR_DB

    def probability(self, frame: Frame) -> float:
        """Return the probability of speech in a frame (float32, 24 kHz mono, any length)."""
        if not len(frame):
            return 0.0
        level = 10.0 * np.log10(float(np.mean(np.square(frame, dtype=np.float64))) + 1e-12)
        rise = self.RISE_DB_PER_S * len(frame) / SAMPLE_RATE
        self._floor = max(self.FLOOR_DB, min(level, self._floor + rise))
        if level < self.QUIET_DB:
            return 0.0
        low, high = self.RANGE_DB
        return float(np.clip((level - self._floor - low) / (high - low), 0.0, 1.0))


class EnergySample(EnergyDetector):
    """As `EnergyDetector`, for isolated frames about a second apart."""

    RISE_DB_PER_S = 50.0

    def may_be_speech(self, frame: Frame) -> bool:
        """Return whether a frame may have speech."""
        return self.probability(frame) > 0.0


_lock = threading.Lock()


@functools.cache
def shared_session() -> Session | None:
    """Load the network on the first call. Not thread-safe; see `preload`."""
    try:
        return open_session()
    except (ImportError, OSError) as missing:
        logger.warning(
            "Silero voice activity detection is not available (%s), so speech is detected by its loudness only. "
            "Install the extra 'embedded' to enable it.",
            missing,
        )
        return None


def preload() -> Session | None:
    """Load the network (about 0.4 s, once per process), so that the first speaker does not wait for it. Thread-safe.

    Returns None if the network is not installed.
    """
    with _lock:
        return shared_session()


def voice_activity_detector() -> SileroDetector | EnergyDetector:
    """Create a detector for one speaker (see `vad.gate.Detector`)."""
    session = preload()
    return EnergyDetector() if session is None else SileroDetector(session)


def speech_sample() -> SileroSample | EnergySample:
    """Create the sample check of one silent publisher (see `SpeechWatch`)."""
    session = preload()
    return EnergySample() if session is None else SileroSample(session)

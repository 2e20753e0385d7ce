# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Voice activity: is somebody speaking?

`voice_activity_detector()` gives each speaker a detector: Silero VAD v6 where faster-whisper (which ships the network) and
onnxruntime are installed (`silero` runs it, `activity` decides when), else a measure of loudness. All Silero detectors share
one onnxruntime session; a speaker who has said nothing yet has a few numbers and the last three frames.
"""

from __future__ import annotations

import logging
import threading

import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.lazy_silero import SileroDetector, SileroSample
from live_transcription.vad.silero import Session, open_session

logger = logging.getLogger(__name__)


class EnergyDetector:
    """Loudness above a noise floor that is learnt: falls to quieter frames at once, rises by 5 dB a second.

    No match for Silero on noise that comes and goes (keyboards, music); it keeps silence from being transcribed.
    """

    #: dBFS below which nothing is speech, and the least floor that is assumed.
    QUIET_DB = -50.0
    FLOOR_DB = -70.0
    #: dB above the floor at which the probability is 0 and 1.
    RANGE_DB = (8.0, 20.0)
    RISE_DB_PER_S = 5.0

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the audio so far: the next frame does not continue it."""
        self._floor = self.FLOOR_DB

    def probability(self, frame: Frame) -> float:
        """Of speech in a frame (float32, 24 kHz mono, any length)."""
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
    """The same for isolated frames, about a second apart."""

    RISE_DB_PER_S = 50.0

    def may_be_speech(self, frame: Frame) -> bool:
        return self.probability(frame) > 0.0


_lock = threading.Lock()
_session: Session | None = None
_missing = False


def preload() -> None:
    """Load the network (about 0.4 s, once per process), so that the first speaker need not wait. Any thread."""
    global _session, _missing  # noqa: PLW0603  one session per process is what is meant
    with _lock:
        if _session is not None or _missing:
            return
        try:
            _session = open_session()
        except (ImportError, OSError) as missing:
            _missing = True
            logger.warning(
                "Silero voice activity detection is not available (%s), so speech is detected by its loudness only. "
                "Install the extra 'embedded' to get it.",
                missing,
            )


def voice_activity_detector() -> SileroDetector | EnergyDetector:
    """A detector for one speaker; `stt.gate` takes either."""
    preload()
    return EnergyDetector() if _session is None else SileroDetector(_session)


def speech_sample() -> SileroSample | EnergySample:
    """For a publisher that is watched, so that only samples are decoded."""
    preload()
    return EnergySample() if _session is None else SileroSample(_session)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Voice activity: how likely a frame holds speech.

`voice_activity_detector()` gives each speaker a detector: Silero VAD v6 where faster-whisper (which ships the network) and
onnxruntime are installed, else a measure of loudness. All Silero detectors share one onnxruntime session; what belongs to a
speaker is the network's state (128 + 128 numbers), 64 samples of context and the resampler.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soxr

from live_transcription.types import SAMPLE_RATE, Frame

logger = logging.getLogger(__name__)

#: Rate in Hz, samples per window (32 ms) and samples of context before each window that Silero VAD takes.
SILERO_RATE = 16_000
WINDOW = 512
CONTEXT = 64


class Detector(Protocol):
    """One speaker's detector; frames come in order."""

    def probability(self, frame: Frame) -> float:
        """The highest probability of speech in [0, 1] within a frame (float32, 24 kHz mono, any length)."""

    def reset(self) -> None:
        """Forget the audio so far: what comes next does not follow on it."""


class SileroDetector:
    """Silero VAD, called as faster-whisper's `SileroVADModel` does, but with the state kept between calls.

    A frame's windows go through the network in one call; its LSTM takes them as successive steps.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._resampler = soxr.ResampleStream(SAMPLE_RATE, SILERO_RATE, 1, dtype="float32", quality="LQ")
        self.reset()

    def reset(self) -> None:
        self._resampler.clear()
        self._rest: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self._context: npt.NDArray[np.float32] = np.zeros(CONTEXT, np.float32)
        self._h: npt.NDArray[np.float32] = np.zeros((1, 1, 128), np.float32)
        self._c: npt.NDArray[np.float32] = np.zeros((1, 1, 128), np.float32)
        self._last = 0.0

    def probability(self, frame: Frame) -> float:
        """As `Detector`; a frame too short to complete a window has the probability of the one before."""
        samples = np.concatenate([self._rest, self._resampler.resample_chunk(frame)])
        count = len(samples) // WINDOW
        if count == 0:
            self._rest = samples
            return self._last
        used = samples[: count * WINDOW]
        windows = np.empty((count, CONTEXT + WINDOW), np.float32)
        windows[:, CONTEXT:] = used.reshape(count, WINDOW)
        windows[0, :CONTEXT] = self._context
        windows[1:, :CONTEXT] = windows[:-1, -CONTEXT:]
        self._rest = samples[count * WINDOW :]
        self._context = used[-CONTEXT:]
        output, self._h, self._c = self._session.run(None, {"input": windows, "h": self._h, "c": self._c})
        self._last = float(np.max(output))
        return self._last


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
        self._floor = self.FLOOR_DB

    def probability(self, frame: Frame) -> float:
        if not len(frame):
            return 0.0
        level = 10.0 * np.log10(float(np.mean(np.square(frame, dtype=np.float64))) + 1e-12)
        rise = self.RISE_DB_PER_S * len(frame) / SAMPLE_RATE
        self._floor = max(self.FLOOR_DB, min(level, self._floor + rise))
        if level < self.QUIET_DB:
            return 0.0
        low, high = self.RANGE_DB
        return float(np.clip((level - self._floor - low) / (high - low), 0.0, 1.0))


_lock = threading.Lock()
_session: Any = None
_missing = False


def preload() -> None:
    """Load the network (about 0.4 s, once per process), so that the first speaker need not wait. Any thread."""
    global _session, _missing  # noqa: PLW0603  one session per process is what is meant
    with _lock:
        if _session is not None or _missing:
            return
        try:
            _session = _open_session()
        except (ImportError, OSError) as missing:
            _missing = True
            logger.warning(
                "Silero voice activity detection is not available (%s), so loudness alone tells speech from silence. "
                "Install the extra 'embedded' to get it.",
                missing,
            )


def voice_activity_detector() -> Detector:
    """A detector for one speaker."""
    preload()
    return EnergyDetector() if _session is None else SileroDetector(_session)


def _open_session() -> Any:
    """Raises ImportError or OSError if a part is missing. faster-whisper itself is not imported: it takes a second."""
    spec = importlib.util.find_spec("faster_whisper")
    if spec is None or spec.origin is None:
        raise ImportError("faster-whisper is not installed")
    networks = sorted((Path(spec.origin).parent / "assets").glob("silero_vad*.onnx"))
    if not networks:
        raise FileNotFoundError("faster-whisper has no silero_vad*.onnx")

    import onnxruntime  # noqa: PLC0415  optional, and slow to import

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(networks[-1]), providers=["CPUExecutionProvider"], sess_options=options)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Silero VAD v6 as faster-whisper ships it (ONNX): 24 kHz audio to probabilities of speech, window by window.

The network takes windows of 512 samples at 16 kHz (32 ms), each with the 64 samples before it, and the state of its LSTM.
At 24 kHz a window is 768 samples and its context 96, so whole windows are resampled 3:2 by one matrix product (a low-pass
filter at 8 kHz, 48 taps, 80 dB), and no resampler needs to be kept per speaker.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from live_transcription.types import Frame

Samples: TypeAlias = npt.NDArray[np.float32]
#: The LSTM's h and c, shape (1, 1, 128) each.
State: TypeAlias = tuple[Samples, Samples]

#: Samples at 24 kHz from one window to the next.
HOP = 768
#: Samples of context before a window at 24 kHz; 3:2 makes 64 of them.
_CONTEXT = 96
#: Samples that the resampling filter reaches to either side.
_REACH = 24
#: Samples that the first window needs beyond its `HOP`: context, and the filter's reach at both ends.
EDGE = _CONTEXT + 2 * _REACH
#: A window and its context are so many blocks of `_CONTEXT` samples, each of which makes `_OUT` at 16 kHz.
_BLOCKS, _OUT = (HOP + _CONTEXT) // _CONTEXT, 64
_STRIDES = (HOP * 4, _CONTEXT * 4, 4)
#: Samples that a glance takes: one window.
GLANCE = HOP + EDGE


class Session(Protocol):
    """onnxruntime's InferenceSession, as far as it is used."""

    def run(self, output_names: list[str] | None, input_feed: dict[str, Samples]) -> Any: ...


def _filter() -> Samples:
    """Shape (144, 64): a block of 96 samples with the filter's reach at both ends, to 64 samples at 16 kHz."""
    taken = np.arange(_CONTEXT + 2 * _REACH)[:, None] - _REACH
    distance = taken - np.arange(_OUT)[None, :] * 1.5
    window = np.i0(8.0 * np.sqrt(np.clip(1 - (distance / _REACH) ** 2, 0, None))) / np.i0(8.0)
    taps = np.where(np.abs(distance) < _REACH, np.sinc(distance * 2 / 3) * window, 0.0)
    return np.asarray(taps / taps.sum(axis=0), np.float32)


_FILTER = _filter()
_ZERO: Samples = np.zeros((1, 1, 128), np.float32)
_ZERO.flags.writeable = False
_OUTPUTS = ["speech_probs", "hn", "cn"]


class Stretch:
    """Audio that the network hears in order. `gain` is what the samples are multiplied by."""

    __slots__ = ("_last", "_rest", "_session", "_state", "gain")

    def __init__(self, session: Session, gain: float = 1.0) -> None:
        self._session = session
        self.gain = gain
        self._state: State = (_ZERO, _ZERO)
        self._rest: Samples | None = None
        self._last = 0.0

    def hear(self, frames: list[Frame]) -> list[float]:
        """The next frames (float32, 24 kHz mono, any length), in one call of the network: each one's highest probability.

        The first `EDGE` samples of a stretch serve as context only. A frame that completes no window has the probability
        of the one before.
        """
        before = [] if self._rest is None else [self._rest]
        samples = np.concatenate([*before, *frames])
        count = max(0, (len(samples) - EDGE) // HOP)
        self._rest = samples[count * HOP :].copy()
        found = self._run(samples, count) if count else None
        result: list[float] = []
        end = len(before[0]) if before else 0
        done = max(0, (end - EDGE) // HOP)
        for frame in frames:
            end += len(frame)
            until = max(0, (end - EDGE) // HOP)
            if found is not None and until > done:
                self._last = float(found[done:until].max())
                done = until
            result.append(self._last)
        return result

    @property
    def broken_off(self) -> bool:
        """What comes next does not follow on what was heard last."""
        return self._rest is None

    def break_off(self) -> None:
        """Audio is left out; how the network remembers what was before stays as it is."""
        self._rest = None
        self._last = 0.0

    def skip_to(self, frame: Frame) -> None:
        """As `break_off`, and what comes next follows on this frame."""
        self._rest = frame
        self._last = 0.0

    def _run(self, samples: Samples, count: int) -> Samples:
        h, c = self._state
        found, h, c = self._session.run(_OUTPUTS, {"input": _windows(samples, count, self.gain), "h": h, "c": c})
        self._state = (h, c)
        return np.asarray(found, np.float32).reshape(-1)


def glance(session: Session, samples: Samples, gain: float = 1.0) -> float:
    """The probability of speech in `GLANCE` samples (24 kHz), for a network that has heard nothing before."""
    (found,) = session.run(_OUTPUTS[:1], {"input": _windows(samples, 1, gain), "h": _ZERO, "c": _ZERO})
    return float(found[0])


def _windows(samples: Samples, count: int, gain: float) -> Samples:
    blocks = np.ndarray((count, _BLOCKS, EDGE), np.float32, samples, strides=_STRIDES)
    # One small product per window: BLAS would share a large one out to threads, which cost more than they bring.
    windows = (blocks @ _FILTER).reshape(count, _BLOCKS * _OUT)
    if gain != 1.0:
        windows *= np.float32(gain)
    return windows


def open_session() -> Session:
    """One for all speakers. Raises ImportError or OSError if a part is missing.

    faster-whisper itself is not imported: it takes a second.
    """
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
    # Buffers are used again instead of being asked of the system at each call: some 1 MB for the process.
    options.enable_cpu_mem_arena = True
    # A pattern per number of windows would be kept, and made anew whenever that number changes.
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    session: Session = onnxruntime.InferenceSession(str(networks[-1]), providers=["CPUExecutionProvider"], sess_options=options)
    return session

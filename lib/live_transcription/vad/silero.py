# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Silero VAD v6 (ONNX, as shipped by faster-whisper): probabilities of speech in 24 kHz audio, window by window.

The network takes windows of 512 samples at 16 kHz (32 ms), each with the 64 samples before it, and the state of its LSTM. At 24
kHz a window has 768 samples and its context 96. So one matrix product resamples whole windows 3:2 (a low-pass filter at 8 kHz,
48 taps, 80 dB), and speakers need no resampler.
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
#: Samples of context before a window at 24 kHz, which are 64 samples at 16 kHz.
_CONTEXT = 96
#: Samples on either side that the resampling filter takes into account.
_REACH = 24
#: Samples that the first window needs beyond `HOP`: its context, and the filter's reach at both ends.
EDGE = _CONTEXT + 2 * _REACH
#: A window and its context are `_BLOCKS` blocks of `_CONTEXT` samples. Each block becomes `_OUT` samples at 16 kHz.
_BLOCKS, _OUT = (HOP + _CONTEXT) // _CONTEXT, 64
_STRIDES = (HOP * 4, _CONTEXT * 4, 4)
#: Samples at 24 kHz that one window takes with its edges: 38 ms.
WINDOW_SAMPLES = HOP + EDGE


class Session(Protocol):
    """The part of onnxruntime's InferenceSession that is used here."""

    def run(self, output_names: list[str] | None, input_feed: dict[str, Samples]) -> Any: ...


def _filter() -> Samples:
    """Return a matrix of shape (144, 64): from a block of 96 samples with the filter's reach to 64 samples at 16 kHz."""
    taken = np.arange(_CONTEXT + 2 * _REACH)[:, None] - _REACH
    distance = taken - np.arange(_OUT)[None, :] * 1.5
    window = np.i0(8.0 * np.sqrt(np.clip(1 - (distance / _REACH) ** 2, 0, None))) / np.i0(8.0)
    taps = np.where(np.abs(distance) < _REACH, np.sinc(distance * 2 / 3) * window, 0.0)
    return np.asarray(taps / taps.sum(axis=0), np.float32)


_FILTER = _filter()
_ZERO: Samples = np.zeros((1, 1, 128), np.float32)
_ZERO.flags.writeable = False
_OUTPUTS = ["speech_probs", "hn", "cn"]


class SileroStream:
    """Runs the network on consecutive audio. Samples are multiplied by `gain`."""

    def __init__(self, session: Session, gain: float = 1.0) -> None:
        self._session = session
        self.gain = gain
        self._state: State = (_ZERO, _ZERO)
        self._rest: Samples | None = None
        self._last = 0.0

    def process(self, frames: list[Frame]) -> list[float]:
        """Run the network on the next frames (float32, 24 kHz mono, any length) in one call.

        Returns the highest probability of speech in each frame. The first `EDGE` samples of a stream serve as context only. A
        frame that completes no window has the probability of the frame before it.
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
    def interrupted(self) -> bool:
        """Whether the next frame does not follow on the audio that was processed last."""
        return self._rest is None

    def interrupt(self) -> None:
        """Note that audio is left out. The network's state is unchanged."""
        self._rest = None
        self._last = 0.0

    def skip_to(self, frame: Frame) -> None:
        """Leave out audio up to and including `frame`. The next frame follows on it."""
        self._rest = frame
        self._last = 0.0

    def _run(self, samples: Samples, count: int) -> Samples:
        h, c = self._state
        found, h, c = self._session.run(_OUTPUTS, {"input": _windows(samples, count, self.gain), "h": h, "c": c})
        self._state = (h, c)
        return np.asarray(found, np.float32).reshape(-1)


def classify_window(session: Session, samples: Samples, gain: float = 1.0) -> float:
    """Return the probability of speech in `WINDOW_SAMPLES` samples (24 kHz), without any history."""
    (found,) = session.run(_OUTPUTS[:1], {"input": _windows(samples, 1, gain), "h": _ZERO, "c": _ZERO})
    return float(found[0])


def _windows(samples: Samples, count: int, gain: float) -> Samples:
    blocks = np.ndarray((count, _BLOCKS, EDGE), np.float32, samples, strides=_STRIDES)
    # One small product per block: BLAS would distribute a large one to threads, which costs more than it saves.
    windows = (blocks @ _FILTER).reshape(count, _BLOCKS * _OUT)
    if gain != 1.0:
        windows *= np.float32(gain)
    return windows


def open_session() -> Session:
    """Load the network, for all speakers of the process. Raises ImportError or OSError if a part is missing.

    faster-whisper itself is not imported, since that takes a second.
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
    # Buffers are reused instead of being allocated at each call, which takes about 1 MB.
    options.enable_cpu_mem_arena = True
    # A memory pattern would be computed and kept for each number of windows.
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    session: Session = onnxruntime.InferenceSession(str(networks[-1]), providers=["CPUExecutionProvider"], sess_options=options)
    return session

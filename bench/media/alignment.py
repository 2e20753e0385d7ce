# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Check that two recordings of the same speech stay aligned: missing or repeated audio shows as a shift. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from live_transcription.types import SAMPLE_RATE

Samples = npt.NDArray[np.float32]

_WINDOW = SAMPLE_RATE
_STEP = 2 * SAMPLE_RATE
_REACH = SAMPLE_RATE * 3 // 10
#: A window is compared where it is at least this loud (RMS), and trusted where it correlates at least so well.
_LOUD = 0.01
_ALIKE = 0.5


def shifts_ms(reference: Samples, other: Samples) -> list[float]:
    """How much later the speech is in `other`, every 2 s where there is some; up to 300 ms either way, to a sample."""
    found = []
    for start in range(_REACH, min(len(reference), len(other)) - _WINDOW - _REACH, _STEP):
        window = reference[start : start + _WINDOW].astype(np.float64)
        around = other[start - _REACH : start + _WINDOW + _REACH].astype(np.float64)
        if np.sqrt(np.mean(window**2)) < _LOUD:
            continue
        correlation = _correlate(around, window)
        energy = np.cumsum(np.concatenate(([0.0], around**2)))
        norms = np.sqrt((energy[_WINDOW:] - energy[:-_WINDOW]) * np.sum(window**2)) + 1e-9
        alike = correlation / norms
        best = int(np.argmax(alike))
        if alike[best] >= _ALIKE:
            found.append(round((best - _REACH) * 1000 / SAMPLE_RATE, 2))
    return found


def _correlate(around: npt.NDArray[np.float64], window: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`numpy.correlate(around, window, "valid")`, by FFT."""
    size = 1 << (len(around) - 1).bit_length()
    product = np.fft.rfft(around, size) * np.conj(np.fft.rfft(window, size))
    return np.fft.irfft(product, size)[: len(around) - len(window) + 1]

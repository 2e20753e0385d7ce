# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Runs of samples of any length to frames of one length."""

from __future__ import annotations

import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame


class Framer:
    """Every frame it gives is an array of its own, exactly `frame_samples` long, finite and in [-1, 1].

    `push` copies samples; `reserve` and `commit` let them be written in place.
    """

    def __init__(self, frame_ms: int = 80) -> None:
        if frame_ms <= 0:
            raise ValueError(f"A frame of {frame_ms} ms is no frame.")
        self.frame_samples = SAMPLE_RATE * frame_ms // 1000
        self._open: Frame | None = None  # made with the first sample: whoever is silent holds none
        self._filled = 0
        self._last = 0.0

    @property
    def missing(self) -> int:
        """Samples that complete the open frame; at least 1."""
        return self.frame_samples - self._filled

    @property
    def last_sample(self) -> float:
        """The newest sample; 0 before the first."""
        return self._last if self._open is None or not self._filled else float(self._open[self._filled - 1])

    def reserve(self, count: int) -> Frame:
        """The next 1 to `missing` samples of the open frame, to be filled before `commit`."""
        if self._open is None:
            self._open = np.empty(self.frame_samples, dtype=np.float32)
        return self._open[self._filled : self._filled + count]

    def commit(self, count: int) -> Frame | None:
        """The reserved samples are written; the frame if they complete it."""
        self._filled += count
        return self._close() if self._filled == self.frame_samples else None

    def push(self, samples: Frame) -> list[Frame]:
        """The frames that these samples complete; the samples are copied."""
        position, end = 0, len(samples)
        frames: list[Frame] = []
        while position < end:
            count = min(end - position, self.missing)
            self.reserve(count)[:] = samples[position : position + count]
            position += count
            frame = self.commit(count)
            if frame is not None:
                frames.append(frame)
        return frames

    def drain(self) -> Frame | None:
        """The last, partial frame, padded with silence; None if nothing is open."""
        if self._filled == 0:
            return None
        self.reserve(self.missing)[:] = 0.0
        return self._close()

    def _close(self) -> Frame:
        frame, self._open = self._open, None
        assert frame is not None
        self._filled = 0
        if not (np.minimum.reduce(frame) >= -1.0 and np.maximum.reduce(frame) <= 1.0):  # also where there is a NaN
            np.minimum(frame, 1.0, out=frame)
            np.maximum(frame, -1.0, out=frame)
            np.nan_to_num(frame, copy=False, nan=0.0)
        self._last = float(frame[-1])
        return frame

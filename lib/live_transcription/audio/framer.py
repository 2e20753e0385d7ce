# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Cut runs of samples of any length into frames of one length. Pure."""

from __future__ import annotations

import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame


class Framer:
    """Produces frames of `frame_samples` samples (float32, finite, in [-1, 1]). Each frame is a new array.

    `push` copies samples into the open frame. `reserve` and `commit` let the caller write them in place.
    """

    def __init__(self, frame_ms: int = 80) -> None:
        if frame_ms <= 0:
            raise ValueError(f"frame_ms must be positive, not {frame_ms}.")
        self.frame_samples = SAMPLE_RATE * frame_ms // 1000
        self._open: Frame | None = None  # allocated with the first sample, so a silent publisher has none
        self._filled = 0
        self._last = 0.0

    @property
    def missing(self) -> int:
        """The number of samples that complete the open frame, at least 1."""
        return self.frame_samples - self._filled

    @property
    def last_sample(self) -> float:
        """The newest sample, 0 before the first."""
        return self._last if self._open is None or not self._filled else float(self._open[self._filled - 1])

    def reserve(self, count: int) -> Frame:
        """Return the next `count` samples of the open frame (1 to `missing`), to be written before `commit`."""
        if self._open is None:
            self._open = np.empty(self.frame_samples, dtype=np.float32)
        return self._open[self._filled : self._filled + count]

    def commit(self, count: int) -> Frame | None:
        """Add the reserved samples, which are written now. Returns the frame if they complete it."""
        self._filled += count
        return self._close() if self._filled == self.frame_samples else None

    def push(self, samples: Frame) -> list[Frame]:
        """Copy samples (float32, shape (n,)). Returns the frames that they complete."""
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
        """Return the last frame, padded with silence, or None if no frame is open."""
        if self._filled == 0:
            return None
        self.reserve(self.missing)[:] = 0.0
        return self._close()

    def _close(self) -> Frame:
        frame, self._open = self._open, None
        assert frame is not None
        self._filled = 0
        if not (np.minimum.reduce(frame) >= -1.0 and np.maximum.reduce(frame) <= 1.0):  # also if there is a NaN
            np.minimum(frame, 1.0, out=frame)
            np.maximum(frame, -1.0, out=frame)
            np.nan_to_num(frame, copy=False, nan=0.0)
        self._last = float(frame[-1])
        return frame

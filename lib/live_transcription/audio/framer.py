# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Runs of samples of any length to frames of one length."""

from __future__ import annotations

import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame


class Framer:
    """Every frame it gives is an array of its own, exactly `frame_samples` long, finite and in [-1, 1]."""

    def __init__(self, frame_ms: int = 80) -> None:
        if frame_ms <= 0:
            raise ValueError(f"A frame of {frame_ms} ms is no frame.")
        self.frame_samples = SAMPLE_RATE * frame_ms // 1000
        self._open = np.empty(self.frame_samples, dtype=np.float32)
        self._filled = 0

    def push(self, samples: Frame) -> list[Frame]:
        """The frames that these samples complete; the samples are copied."""
        position, end = 0, len(samples)
        filled = self._filled + end
        if filled < self.frame_samples:
            self._open[self._filled : filled] = samples
            self._filled = filled
            return []
        frames: list[Frame] = []
        while position < end:
            count = min(end - position, self.frame_samples - self._filled)
            self._open[self._filled : self._filled + count] = samples[position : position + count]
            position += count
            self._filled += count
            if self._filled == self.frame_samples:
                frames.append(self._close())
        return frames

    def drain(self) -> Frame | None:
        """The last, partial frame, padded with silence; None if nothing is open."""
        if self._filled == 0:
            return None
        self._open[self._filled :] = 0.0
        return self._close()

    def _close(self) -> Frame:
        frame = self._open
        self._open = np.empty(self.frame_samples, dtype=np.float32)
        self._filled = 0
        np.minimum(frame, 1.0, out=frame)
        np.maximum(frame, -1.0, out=frame)
        if np.isnan(np.dot(frame, frame)):  # all within [-1, 1], so only a NaN makes it one
            np.nan_to_num(frame, copy=False, nan=0.0)
        return frame

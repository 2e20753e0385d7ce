# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Audio that may have to be sent again, bounded in seconds. Pure.

Positions are samples since the stream began; they never go back. Memory comes and goes in blocks of one second.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame

_BLOCK = SAMPLE_RATE


class AudioRing:
    """Holds [start, end). Appending beyond the capacity lets go of the oldest; `forget` lets go of what is done with."""

    def __init__(self, capacity_s: float) -> None:
        self.capacity = round(capacity_s * SAMPLE_RATE)
        if self.capacity <= 0:
            raise ValueError("capacity_s must be positive")
        self._blocks: deque[Frame] = deque()
        # Position of the first sample of the first block; a multiple of the block's length.
        self._base = 0
        self._start = 0
        self._end = 0

    @property
    def start(self) -> int:
        """The oldest position held."""
        return self._start

    @property
    def end(self) -> int:
        """The position of the next sample to come."""
        return self._end

    @property
    def memory_bytes(self) -> int:
        return sum(block.nbytes for block in self._blocks)

    def __len__(self) -> int:
        return self._end - self._start

    def append(self, frame: Frame) -> None:
        """Take a frame (float32, any length), copied. What no longer fits at the front is gone: compare `start`."""
        samples = len(frame)
        skipped = max(0, samples - self.capacity)
        self._end += skipped
        self.forget(self._end - self.capacity + samples - skipped)
        taken = skipped
        while taken < samples:
            block, offset = divmod(self._end - self._base, _BLOCK)
            if block == len(self._blocks):
                self._blocks.append(np.empty(_BLOCK, np.float32))
            part = min(_BLOCK - offset, samples - taken)
            self._blocks[block][offset : offset + part] = frame[taken : taken + part]
            self._end += part
            taken += part

    def read(self, position: int, samples: int) -> Frame:
        """A copy of at most so many samples from `position` on; fewer at the end. Raises IndexError for what is gone."""
        if not self._start <= position <= self._end:
            raise IndexError(f"position {position} is not within {self._start}..{self._end}")
        stop = min(position + samples, self._end)
        audio = np.empty(stop - position, np.float32)
        done = position
        while done < stop:
            block, offset = divmod(done - self._base, _BLOCK)
            part = min(_BLOCK - offset, stop - done)
            audio[done - position : done - position + part] = self._blocks[block][offset : offset + part]
            done += part
        return audio

    def forget(self, position: int) -> None:
        """Audio before `position` is not needed any more."""
        self._start = max(self._start, min(position, self._end))
        while self._blocks and self._base + _BLOCK <= self._start:
            self._blocks.popleft()
            self._base += _BLOCK
        if not self._blocks:
            self._base = self._start - self._start % _BLOCK

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Between the receive path, which never waits, and speech-to-text, which may lag: the newest audio up to a bound in seconds."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from live_transcription.observability import metrics
from live_transcription.types import SAMPLE_RATE, Frame


class EndOfStream(Exception):
    """The queue was closed and everything in it has been read."""


@dataclass(frozen=True, slots=True)
class FrameQueueStatistics:
    """`held_s` seconds wait in the queue now; `dropped_s` seconds were dropped because nobody read them in time."""

    held_s: float
    put_frames: int
    dropped_frames: int
    dropped_s: float


class FrameQueue:
    """One reader, one writer, one event loop. Beyond `limit_s` seconds the oldest frame is dropped and counted."""

    def __init__(self, limit_s: float = 10.0) -> None:
        self._limit = max(1, int(limit_s * SAMPLE_RATE))
        self._frames: deque[Frame] = deque()
        self._held = 0
        self._put = 0
        self._dropped_frames = 0
        self._dropped_samples = 0
        self._closed = False
        self._reader: asyncio.Future[None] | None = None
        # The reader's patience. Its timer is never moved to a later moment: it looks again when it rings.
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def put(self, frame: Frame) -> None:
        """Add a frame and return at once; after `close()` it is ignored."""
        if self._closed:
            return
        self._frames.append(frame)
        self._held += len(frame)
        self._put += 1
        while self._held > self._limit and len(self._frames) > 1:
            dropped = self._frames.popleft()
            self._held -= len(dropped)
            self._dropped_frames += 1
            self._dropped_samples += len(dropped)
            metrics.frames_dropped.inc()
        self._wake()

    async def get(self, timeout_s: float | None = None) -> Frame:
        """The oldest frame, as soon as there is one. Raises EndOfStream after `close()` when all has been read.

        Raises TimeoutError when none has come within `timeout_s`; to have patience for each frame costs no timer per frame.
        """
        while not self._frames:
            if self._closed:
                raise EndOfStream
            if self._reader is not None:
                raise RuntimeError("A frame queue has one reader.")
            loop = asyncio.get_running_loop()
            self._reader = loop.create_future()
            if timeout_s is not None:
                self._watch(loop, loop.time() + timeout_s)
            try:
                await self._reader
            finally:
                self._reader = self._until = None
        frame = self._frames.popleft()
        self._held -= len(frame)
        return frame

    def close(self) -> None:
        """No more frames; what is in the queue can still be read."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    def statistics(self) -> FrameQueueStatistics:
        return FrameQueueStatistics(
            held_s=self._held / SAMPLE_RATE,
            put_frames=self._put,
            dropped_frames=self._dropped_frames,
            dropped_s=self._dropped_samples / SAMPLE_RATE,
        )

    def _watch(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        self._until = until
        if self._timer is not None:
            if self._timer.when() <= until:
                return
            self._timer.cancel()
        self._timer = loop.call_at(until, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._until is None or self._reader is None or self._reader.done():
            return
        if loop.time() < self._until:
            self._watch(loop, self._until)
        else:
            self._reader.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The queue between the receive path, which never waits, and speech-to-text, which may lag. It keeps the newest audio."""

from __future__ import annotations

import asyncio
from collections import deque

from live_transcription.observability import metrics
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.types import SAMPLE_RATE, Frame


class FrameQueueClosed(Exception):
    """The queue was closed and all its frames were taken."""


class FrameQueue:
    """Frames for one reader, on one event loop. Beyond `limit_s` seconds of audio, the oldest frame is dropped and counted."""

    def __init__(self, limit_s: float = 10.0) -> None:
        self._limit = max(1, int(limit_s * SAMPLE_RATE))
        self._frames: deque[Frame] = deque()
        self._buffered_samples = 0
        self._closed = False
        # While the reader waits; its result says whether the time is over.
        self._waiter: asyncio.Future[bool] | None = None
        self._timer = DeadlineTimer(lambda: self._wake(timed_out=True))

    @property
    def empty(self) -> bool:
        """Whether no frame waits in the queue."""
        return not self._frames

    @property
    def buffered_s(self) -> float:
        """Seconds of audio in the queue."""
        return self._buffered_samples / SAMPLE_RATE

    def put(self, frame: Frame) -> None:
        """Add a frame. Never waits; ignored after `close()`."""
        if self._closed:
            return
        self._frames.append(frame)
        self._buffered_samples += len(frame)
        while self._buffered_samples > self._limit and len(self._frames) > 1:
            self._take()
            metrics.frames_dropped.inc()
        self._wake()

    async def get(self, timeout_s: float | None = None) -> Frame | None:
        """Take the oldest frame, waiting for one if necessary. Returns None if `interrupt` ends the wait.

        Raises FrameQueueClosed after `close()` when the queue is empty, and TimeoutError if no frame comes for `timeout_s`.
        """
        timed_out = not self._frames and not self._closed and await self._wait(timeout_s)
        # A frame may have arrived between the timeout and this task's next turn.
        if self._frames:
            return self._take()
        if self._closed:
            raise FrameQueueClosed
        if timed_out:
            raise TimeoutError
        return None

    def interrupt(self) -> None:
        """End the reader's wait, if it waits, although there is no frame."""
        self._wake()

    def close(self) -> None:
        """Accept no more frames. Those in the queue can still be taken."""
        self._closed = True
        self._wake()

    async def _wait(self, timeout_s: float | None) -> bool:
        """Wait for `_wake`. Returns whether the time is over.

        The timer is cheaper than `asyncio.timeout`, and this runs once per frame of each speaker.
        """
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        if timeout_s is not None:
            self._timer.set(loop.time() + timeout_s)
        try:
            return await self._waiter
        finally:
            self._waiter = None
            self._timer.cancel()

    def _wake(self, *, timed_out: bool = False) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(timed_out)

    def _take(self) -> Frame:
        frame = self._frames.popleft()
        self._buffered_samples -= len(frame)
        return frame

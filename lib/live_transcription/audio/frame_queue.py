# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A bounded queue between the receive path, which never waits, and speech-to-text, which may lag.

While speech-to-text keeps up, audio passes straight through.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from live_transcription.observability import metrics
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.types import SAMPLE_RATE, Frame


class EndOfStream(Exception):
    """The queue was closed and all of its frames have been taken."""


class FrameQueue:
    """A queue of frames for one listener and one writer in one event loop.

    While the listener waits, `put` calls it directly: nothing is queued, and no task wakes up. Otherwise the queue buffers up
    to `limit_s` seconds. Beyond that it drops the oldest frame and counts it.
    """

    def __init__(self, limit_s: float = 10.0) -> None:
        self._limit = max(1, int(limit_s * SAMPLE_RATE))
        self._frames: deque[Frame] = deque()
        self._buffered = 0
        #: Frames that were put, and those of them that were dropped since nobody took them in time.
        self.put_frames = 0
        self.dropped_frames = 0
        self._closed = False
        # The listener while it waits; the queue is empty then.
        self._take: Callable[[Frame], bool] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._timeout_s: float | None = None
        self._timer = DeadlineTimer(lambda: self._wake(TimeoutError()))

    def put(self, frame: Frame) -> None:
        """Add a frame and return at once. After `close`, frames are ignored. Never raises what the listener raises."""
        if self._closed:
            return
        self.put_frames += 1
        if self._take is not None and self._waiting is not None and not self._waiting.done():
            self._pass(frame, self._take)
            return
        self._frames.append(frame)
        self._buffered += len(frame)
        while self._buffered > self._limit and len(self._frames) > 1:
            self._buffered -= len(self._frames.popleft())
            self.dropped_frames += 1
            metrics.frames_dropped.inc()

    async def listen(self, take: Callable[[Frame], bool], timeout_s: float | None = None) -> None:
        """Call `take` with each frame in order, as soon as it is there, until it returns False or raises.

        What `take` raises is raised here. Raises EndOfStream after `close` when all frames are taken, and TimeoutError if no
        frame comes for `timeout_s` seconds; the timeout costs no timer per frame. A frame that `take` was called with does not
        come again, even if this call is cancelled.
        """
        if self._waiting is not None:
            raise RuntimeError("A frame queue has one listener.")
        while self._frames:
            frame = self._frames.popleft()
            self._buffered -= len(frame)
            if not take(frame):
                return
        if self._closed:
            raise EndOfStream
        self._take, self._waiting = take, asyncio.get_running_loop().create_future()
        self._timeout_s = timeout_s
        self._restart_timeout()
        try:
            await self._waiting
        finally:
            self._timer.cancel()
            self._take = self._waiting = self._timeout_s = None

    @property
    def empty(self) -> bool:
        """Whether no frame waits in the queue."""
        return not self._frames

    @property
    def buffered_s(self) -> float:
        """Seconds of audio that wait in the queue."""
        return self._buffered / SAMPLE_RATE

    def interrupt(self) -> None:
        """End a waiting `listen` although no frame has come."""
        self._wake()

    def close(self) -> None:
        """Accept no more frames. Those in the queue can still be taken."""
        self._closed = True
        self._wake(EndOfStream())

    def _pass(self, frame: Frame, take: Callable[[Frame], bool]) -> None:
        try:
            more = take(frame)
        except Exception as error:  # noqa: BLE001  the error is the listener's, so `listen` raises it, not the writer
            self._wake(error)
            return
        if not more:
            self._wake()
        else:
            self._restart_timeout()

    def _restart_timeout(self) -> None:
        if self._timeout_s is not None:
            self._timer.set(asyncio.get_running_loop().time() + self._timeout_s)

    def _wake(self, error: Exception | None = None) -> None:
        self._take = None
        if self._waiting is None or self._waiting.done():
            return
        if error is None:
            self._waiting.set_result(None)
        else:
            self._waiting.set_exception(error)

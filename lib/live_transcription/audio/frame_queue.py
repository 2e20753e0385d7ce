# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Between the receive path, which never waits, and speech-to-text, which may lag: the newest audio up to a bound in seconds.

While speech-to-text keeps up, audio goes straight through.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from live_transcription.observability import metrics
from live_transcription.types import SAMPLE_RATE, Frame


class EndOfStream(Exception):
    """The queue was closed and everything in it has been taken."""


@dataclass(frozen=True, slots=True)
class FrameQueueStatistics:
    """`held_s` seconds wait in the queue now; `dropped_s` seconds were dropped because nobody read them in time."""

    held_s: float
    put_frames: int
    dropped_frames: int
    dropped_s: float


class FrameQueue:
    """One listener, one writer, one event loop. Beyond `limit_s` seconds the oldest frame is dropped and counted.

    While the listener waits, a frame is its own in the same call of `put`: nothing is queued and no task is woken.
    """

    def __init__(self, limit_s: float = 10.0) -> None:
        self._limit = max(1, int(limit_s * SAMPLE_RATE))
        self._frames: deque[Frame] = deque()
        self._held = 0
        self._put = 0
        self._dropped_frames = 0
        self._dropped_samples = 0
        self._closed = False
        # The listener, while it waits; then nothing is held.
        self._take: Callable[[Frame], bool] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._clock: Callable[[], float] | None = None
        # Its patience. The timer is never moved to a later moment: it looks again when it rings.
        self._patience_s: float | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def put(self, frame: Frame) -> None:
        """Add a frame and return at once; after `close()` it is ignored. Never raises what a listener does."""
        if self._closed:
            return
        self._put += 1
        if self._take is not None and self._waiting is not None and not self._waiting.done():
            self._pass(frame, self._take)
            return
        self._frames.append(frame)
        self._held += len(frame)
        while self._held > self._limit and len(self._frames) > 1:
            dropped = self._frames.popleft()
            self._held -= len(dropped)
            self._dropped_frames += 1
            self._dropped_samples += len(dropped)
            metrics.frames_dropped.inc()

    async def listen(self, take: Callable[[Frame], bool], timeout_s: float | None = None) -> None:
        """Give `take` each frame in order, as soon as it is there, until it says False. What it raises is raised here.

        Raises EndOfStream after `close()` when all has been taken, and TimeoutError when nothing has come for `timeout_s`; to
        have patience costs no timer per frame. A frame that was given to `take` does not come again, even if this is cancelled.
        """
        if self._waiting is not None:
            raise RuntimeError("A frame queue has one listener.")
        while self._frames:
            frame = self._frames.popleft()
            self._held -= len(frame)
            if not take(frame):
                return
        if self._closed:
            raise EndOfStream
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._take, self._waiting, self._patience_s = take, loop.create_future(), timeout_s
        if timeout_s is not None:
            self._watch(loop, loop.time() + timeout_s)
        try:
            await self._waiting
        finally:
            self._take = self._waiting = self._patience_s = None

    @property
    def empty(self) -> bool:
        return not self._frames

    def interrupt(self) -> None:
        """Wake a waiting `listen` although no frame has come."""
        self._wake()

    def close(self) -> None:
        """Add no more frames; those in the queue can still be taken."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake(EndOfStream())

    def statistics(self) -> FrameQueueStatistics:
        return FrameQueueStatistics(
            held_s=self._held / SAMPLE_RATE,
            put_frames=self._put,
            dropped_frames=self._dropped_frames,
            dropped_s=self._dropped_samples / SAMPLE_RATE,
        )

    def _pass(self, frame: Frame, take: Callable[[Frame], bool]) -> None:
        try:
            more = take(frame)
        except Exception as error:  # noqa: BLE001  it is the listener's, who is told; the writer has nothing to do with it
            self._wake(error)
            return
        if not more:
            self._wake()
        elif self._patience_s is not None and self._clock is not None:
            self._until = self._clock() + self._patience_s

    def _watch(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        self._until = until
        if self._timer is not None:
            if self._timer.when() <= until:
                return
            self._timer.cancel()
        self._timer = loop.call_at(until, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._take is None or self._patience_s is None:
            return
        if loop.time() < self._until:
            self._watch(loop, self._until)
        else:
            self._wake(TimeoutError())

    def _wake(self, error: Exception | None = None) -> None:
        self._take = None
        if self._waiting is None or self._waiting.done():
            return
        if error is None:
            self._waiting.set_result(None)
        else:
            self._waiting.set_exception(error)

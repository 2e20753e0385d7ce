# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Slots for decodes, and how often each speaker gets a hypothesis while all speakers share them."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Hashable
from enum import IntEnum
from itertools import count
from typing import TypeVar

from live_transcription.runtime.threads import started_threads

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Priority(IntEnum):
    """The order in which free slots are given; equal priorities are served first come, first served."""

    FINAL = 0
    FIRST_PARTIAL = 1
    PARTIAL = 2


class Pace:
    """The interval between a speaker's hypotheses, so that decodes fill no more than `SHARE` of the slots. Pure."""

    SHARE = 0.6
    #: A speaker counts as talking for so long after a decode, in seconds.
    TALKING_S = 3.0
    #: Weight of the newest decode in the mean.
    WEIGHT = 0.15

    def __init__(self, base_s: float, slots: int) -> None:
        self._base_s = base_s
        self._slots = slots
        self._cost_s = 0.0
        self._last: dict[Hashable, float] = {}

    def decoded(self, speaker: Hashable, cost_s: float, now: float) -> None:
        self._cost_s = cost_s if not self._cost_s else self._cost_s + self.WEIGHT * (cost_s - self._cost_s)
        self._last[speaker] = now

    def talking(self, now: float) -> int:
        self._last = {speaker: at for speaker, at in self._last.items() if now - at < self.TALKING_S}
        return len(self._last)

    def interval_s(self, now: float, share: float = 1.0) -> float:
        """`share`: factor on the base interval, for a speaker who has just begun."""
        return max(self._base_s * share, self.talking(now) * self._cost_s / (self._slots * self.SHARE))


class DecodePool:
    """`slots` worker threads. Jobs wait here in order of priority, not in the threads' queue."""

    def __init__(self, slots: int, partial_interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._executor = started_threads(slots, "decode")
        self._free = slots
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []
        self._serial = count()
        self._clock = clock
        self._base_s = partial_interval_s
        self._pace = Pace(partial_interval_s, slots)
        self._slots = slots
        self._slow = False

    async def run(self, speaker: Hashable, priority: Priority, prepare: Callable[[], Callable[[], Result]]) -> Result:
        """Wait for a slot, call `prepare` (in the loop, so that it sees the newest audio), and run its result in a thread.

        Cancelling gives up waiting; a decode that has begun goes on to its end and keeps its slot until then.
        """
        await self._acquire(priority)
        try:
            job = prepare()
            began = self._clock()
            future = asyncio.get_running_loop().run_in_executor(self._executor, job)
        except BaseException:
            self._release()
            raise

        def done(decode: asyncio.Future[Result]) -> None:
            self._release()
            if not decode.cancelled() and decode.exception() is None:
                self._measure(speaker, self._clock() - began)

        future.add_done_callback(done)
        return await asyncio.shield(future)

    def partial_interval_s(self, share: float = 1.0) -> float:
        """Current seconds between the starts of a speaker's hypotheses; `share` as in `Pace.interval_s`."""
        return self._pace.interval_s(self._clock(), share)

    @property
    def crowded(self) -> bool:
        """More people talk than the slots serve at the wanted interval."""
        return self.partial_interval_s() > 1.5 * self._base_s

    async def in_thread(self, job: Callable[[], Result]) -> Result:
        """Run something in one of the threads without taking a slot (loading, for instance)."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, job)

    def later(self, job: Callable[[], None]) -> None:
        """Have a thread tidy up when it has time; for what must be done when nobody waits any more."""
        self._executor.submit(job)

    async def aclose(self) -> None:
        """Wait for the decodes under way (each well below a second), then end the threads."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)

    async def _acquire(self, priority: Priority) -> None:
        if self._free >= self._wanted(priority):
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._serial), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        self._free += 1
        while self._waiting and self._free >= self._wanted(self._waiting[0][0]):
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._free -= 1
                turn.set_result(None)

    def _wanted(self, priority: Priority) -> int:
        """Free slots that it takes to begin: the last one is kept for what cannot wait, where there are several."""
        return 2 if priority is Priority.PARTIAL and self._slots > 1 else 1

    def _measure(self, speaker: Hashable, cost_s: float) -> None:
        now = self._clock()
        self._pace.decoded(speaker, cost_s, now)
        interval_s = self._pace.interval_s(now)
        if not self._slow and interval_s > 2 * self._base_s:
            self._slow = True
            logger.warning(
                "Decoding cannot keep up with the speech (concurrent speakers: %d, concurrent decodes: %d). Each speaker is "
                "now decoded every %.1f s, so words come later. Give the app more CPU cores.",
                self._pace.talking(now),
                self._slots,
                interval_s,
            )
        elif self._slow and interval_s < 1.3 * self._base_s:
            self._slow = False
            logger.info("The decoding interval is back to %.1f s per speaker", interval_s)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Worker threads that all speakers share: which decode runs next, how often a speaker gets a hypothesis, and how many speakers
can be served at the same time.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import TypeVar

from live_transcription.runtime.threads import started_threads

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Speakers beyond the capacity, as a factor, whose finals still come in time if they get hardly any hypothesis.
OVERLOAD = 2


class Priority(IntEnum):
    """The order in which decodes get a free slot. Those of equal priority run in the order of their requests.

    `FIRST_WORDS` is a hypothesis of an utterance none of whose words can be committed yet, or a final decoded early.
    """

    FINAL = 0
    FIRST_WORDS = 1
    HYPOTHESIS = 2


@dataclass(frozen=True, slots=True, order=True)
class _Request:
    """A decode that waits for a slot, in the order in which slots are given."""

    priority: Priority
    serial: int
    turn: asyncio.Future[bool] = field(compare=False)
    speaker: Hashable = field(compare=False)


class DecodePacing:
    """Computes the interval between a speaker's hypotheses from the number of speakers and the duration of decodes. Pure.

    `base_s` is the interval in seconds while there are enough slots. With more speakers it grows, so that decodes use no more
    than `SHARE` of the slots' time.
    """

    SHARE = 0.6
    #: Seconds after a decode for which its speaker counts as talking.
    TALKING_S = 3.0
    #: Weight of the newest decode in the mean duration.
    WEIGHT = 0.15
    #: Duration of a decode in seconds until one is measured: that of the bundled model on a core of 2020.
    TYPICAL_S = 0.25
    #: Seconds in which all who talk at the same time can be decoded once. Finals then come within 3 s, even if all stop at the
    #: same moment (tests/unit/stt/embedded/test_load.py).
    ROUND_S = 1.0
    #: Speakers for each slot that are served however slow the machine is; the documentation promises as many.
    LEAST = 2

    def __init__(self, base_s: float, slots: int) -> None:
        self._base_s = base_s
        self._slots = slots
        self._cost_s = 0.0
        self._last: dict[Hashable, float] = {}

    def decoded(self, speaker: Hashable, cost_s: float, now: float) -> None:
        """Record a decode of `cost_s` seconds."""
        self._cost_s = cost_s if not self._cost_s else self._cost_s + self.WEIGHT * (cost_s - self._cost_s)
        self._last[speaker] = now

    def expect(self, speaker: Hashable, now: float) -> None:
        """Count a speaker as talking before the first decode."""
        self._last[speaker] = now

    def forget(self, speaker: Hashable) -> None:
        """The speaker's stream is closed."""
        self._last.pop(speaker, None)

    @property
    def capacity(self) -> int:
        """How many speakers can talk at the same time while finals come in time.

        At least `LEAST` for each slot: on a busy machine late captions are better than none.
        """
        return max(self.LEAST * self._slots, int(self._slots * self.ROUND_S / (self._cost_s or self.TYPICAL_S)))

    def talking(self, now: float) -> int:
        """The number of speakers who are talking."""
        self._last = {speaker: at for speaker, at in self._last.items() if now - at < self.TALKING_S}
        return len(self._last)

    def interval_s(self, now: float, share: float = 1.0) -> float:
        """Seconds between the starts of two hypotheses of a speaker. `share` is a factor on the base interval."""
        return max(self._base_s * share, self.talking(now) * self._cost_s / (self._slots * self.SHARE))


class DecodePool:
    """Runs decodes in `slots` threads. Decodes that wait for a slot are ordered by priority.

    `interval_s` is the wanted time between a speaker's hypotheses, in seconds.
    """

    def __init__(self, slots: int, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._executor = started_threads(slots, "decode")
        self._free = slots
        self._waiting: list[_Request] = []
        self._serial = count()
        self._clock = clock
        self._base_s = interval_s
        self._pacing = DecodePacing(interval_s, slots)
        self._slots = slots
        self._slow = False

    async def run(
        self, speaker: Hashable, priority: Priority, prepare: Callable[[], Callable[[], Result] | None]
    ) -> Result | None:
        """Wait for a slot, call `prepare` in the event loop, and run the job that it returns in a thread.

        `prepare` is called when a slot is free, so that the job gets the newest audio. Returns None if it returns None, or if
        the decode is withdrawn while it waits. Cancelling ends the wait. A decode that has started runs to its end and occupies
        its slot until then.
        """
        if not await self._acquire(speaker, priority):
            return None
        try:
            job = prepare()
            if job is None:
                self._release()
                return None
            began = self._clock()
            future = self._start(priority, job)
        except BaseException:
            self._release()
            raise

        def done(decode: asyncio.Future[Result]) -> None:
            self._release()
            if not decode.cancelled() and decode.exception() is None:
                self._measure(speaker, self._clock() - began)

        future.add_done_callback(done)
        return await asyncio.shield(future)

    def withdraw(self, speaker: Hashable) -> None:
        """Remove the speaker's decode from the queue, unless it is a final. Its result is no longer needed."""
        for request in self._waiting:
            if request.speaker is speaker and request.priority is not Priority.FINAL and not request.turn.done():
                request.turn.set_result(False)

    def interval_s(self, share: float = 1.0) -> float:
        """The current interval between a speaker's hypotheses; see `DecodePacing.interval_s`."""
        return self._pacing.interval_s(self._clock(), share)

    @property
    def capacity(self) -> int:
        """How many speakers can talk at the same time; see `DecodePacing.capacity`."""
        return self._pacing.capacity

    def expect(self, speaker: Hashable) -> bool:
        """Count a speaker who begins. Returns False if so many are talking that not even finals would come in time."""
        now = self._clock()
        if self._pacing.talking(now) >= OVERLOAD * self.capacity:
            return False
        self._pacing.expect(speaker, now)
        return True

    def forget(self, speaker: Hashable) -> None:
        """The speaker's stream is closed."""
        self._pacing.forget(speaker)

    @property
    def crowded(self) -> bool:
        """Whether the slots are too few for the wanted interval."""
        return self.interval_s() > 1.5 * self._base_s

    async def in_thread(self, job: Callable[[], Result]) -> Result:
        """Run a job that needs no slot, such as loading a model, in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, job)

    def later(self, job: Callable[[], None]) -> None:
        """Run a job in one of the threads without waiting for its end."""
        self._executor.submit(job)

    async def aclose(self) -> None:
        """Wait for running decodes, each of which takes about a second at most, and end the threads."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)

    def _start(self, priority: Priority, job: Callable[[], Result]) -> asyncio.Future[Result]:  # noqa: ARG002
        return asyncio.get_running_loop().run_in_executor(self._executor, job)

    async def _acquire(self, speaker: Hashable, priority: Priority) -> bool:
        """Wait for a slot. Returns False if the request was withdrawn."""
        if self._free >= self._required(priority):
            self._free -= 1
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Request(priority, next(self._serial), turn, speaker))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self._release()
            raise

    def _release(self) -> None:
        self._free += 1
        while self._waiting and self._free >= self._required(self._waiting[0].priority):
            turn = heapq.heappop(self._waiting).turn
            if not turn.done():
                self._free -= 1
                turn.set_result(True)

    def _required(self, priority: Priority) -> int:
        """How many slots must be free. If there are several, the last one is reserved for finals and first words."""
        return 2 if priority is Priority.HYPOTHESIS and self._slots > 1 else 1

    def _measure(self, speaker: Hashable, cost_s: float) -> None:
        now = self._clock()
        self._pacing.decoded(speaker, cost_s, now)
        interval_s = self._pacing.interval_s(now)
        if not self._slow and interval_s > 2 * self._base_s:
            self._slow = True
            logger.warning(
                "Decoding cannot keep up with the speech (concurrent speakers: %d, concurrent decodes: %d). Each speaker is "
                "now decoded every %.1f s, so words come later. Give the app more CPU cores.",
                self._pacing.talking(now),
                self._slots,
                interval_s,
            )
        elif self._slow and interval_s < 1.3 * self._base_s:
            self._slow = False
            logger.info("The decoding interval is back to %.1f s per speaker", interval_s)

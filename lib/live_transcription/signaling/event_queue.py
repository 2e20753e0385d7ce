# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The bounded queue of events between the websocket's reader and the call."""

from __future__ import annotations

import asyncio
from collections import deque

from live_transcription.signaling.events import SignalingEnded, SignalingEvent

#: Limit of the number of events that wait for one call.
EVENT_LIMIT = 1024
#: Limit of the octets of the frames behind these events.
EVENT_OCTETS = 32 * 1024 * 1024
#: Limit of the octets in the queues of all calls together.
TOTAL_OCTETS = 128 * 1024 * 1024


class EventBudget:
    """A limit in octets, shared by all event queues of the process."""

    def __init__(self, limit: int = TOTAL_OCTETS) -> None:
        self.limit = limit
        self.used = 0
        #: Wakes the writers that wait.
        self.writers: set[asyncio.Event] = set()


PROCESS_BUDGET = EventBudget()


class EventQueue:
    """A queue for one writer and one reader. While it is full the writer waits, so that backpressure reaches the websocket.

    It is full with `limit` events or `octets` octets, or when `budget` is exhausted. An empty queue takes one event of any
    size, so that no call waits for another one.
    """

    def __init__(self, limit: int = EVENT_LIMIT, *, octets: int = EVENT_OCTETS, budget: EventBudget = PROCESS_BUDGET) -> None:
        self._limit = limit
        self._octet_limit = octets
        self._budget = budget
        self._events: deque[tuple[SignalingEvent, int]] = deque()
        #: Number of octets of the frames behind the waiting events.
        self.octets = 0
        self._closed = False
        # The reader waits only while the queue is empty, the writer only while it is not, so that one event wakes either.
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._events)

    async def put(self, event: SignalingEvent, octets: int = 0) -> None:
        """Wait for space, then queue an event. `octets` is its share of the frame. A closed queue drops the event."""
        while not (self._closed or self._has_room(octets)):
            self._changed.clear()
            self._budget.writers.add(self._changed)
            try:
                await self._changed.wait()
            finally:
                self._budget.writers.discard(self._changed)
        if not self._closed:
            self._events.append((event, octets))
            self._use(octets)

    async def get(self) -> SignalingEvent:
        """Wait for the oldest event and take it. Raises SignalingEnded when the queue is closed and empty."""
        while not self._events:
            if self._closed:
                raise SignalingEnded
            self._changed.clear()
            await self._changed.wait()
        event, octets = self._events.popleft()
        if not self._closed:
            self._use(-octets)
        return event

    def close(self) -> None:
        """Accept no more events. The waiting ones can still be read, and no longer count in the budget."""
        if not self._closed:
            self._closed = True
            self._use(-self.octets)

    def _use(self, octets: int) -> None:
        """Count octets that are queued, or negative ones that are released, and wake the task that waits for them."""
        self.octets += octets
        self._budget.used += octets
        self._changed.set()
        if octets < 0:
            for writer in self._budget.writers:
                writer.set()

    def _has_room(self, octets: int) -> bool:
        if not self._events:
            return True
        within_own = len(self._events) < self._limit and self.octets + octets <= self._octet_limit
        return within_own and self._budget.used + octets <= self._budget.limit

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The queue between the websocket's reader and the call: bounded, ordered, and with an end."""

from __future__ import annotations

import asyncio
from collections import deque

from live_transcription.signaling.events import EndOfStream, SignalingEvent

#: Limit of the events that wait for one call.
EVENT_LIMIT = 1024
#: Limit of the octets of the frames behind these events.
EVENT_OCTETS = 32 * 1024 * 1024
#: The same for the queues of all calls together.
TOTAL_OCTETS = 128 * 1024 * 1024


class EventBudget:
    """A limit in octets, shared by all event queues of the process."""

    def __init__(self, limit: int = TOTAL_OCTETS) -> None:
        self._limit = limit
        self._used = 0
        self._writers: set[asyncio.Event] = set()

    @property
    def used(self) -> int:
        return self._used

    def has_room(self, octets: int) -> bool:
        return self._used + octets <= self._limit

    def add(self, octets: int) -> None:
        self._used += octets

    def release(self, octets: int) -> None:
        self._used -= octets
        for writer in self._writers:
            writer.set()

    async def wait(self, writer: asyncio.Event) -> None:
        """Wait until `writer` is set, by its own queue or because octets were released."""
        writer.clear()
        self._writers.add(writer)
        try:
            await writer.wait()
        finally:
            self._writers.discard(writer)


PROCESS_BUDGET = EventBudget()


class EventQueue:
    """One writer, one reader. A full queue makes the writer wait, so that backpressure reaches the websocket.

    Full means `limit` events, `octets` octets, or an exhausted `budget`. An empty queue takes one event of any size, so no call
    waits for another one.
    """

    def __init__(self, limit: int = EVENT_LIMIT, *, octets: int = EVENT_OCTETS, budget: EventBudget = PROCESS_BUDGET) -> None:
        self._limit = limit
        self._octet_limit = octets
        self._budget = budget
        self._events: deque[tuple[SignalingEvent, int]] = deque()
        self._octets = 0
        self._closed = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def octets(self) -> int:
        """Number of octets of the frames behind the waiting events."""
        return self._octets

    async def put(self, event: SignalingEvent, octets: int = 0) -> None:
        """Wait for space, then queue an event. `octets`: its share of the frame. Drops the event if the queue is closed."""
        while not (self._closed or self._has_room(octets)):
            await self._budget.wait(self._writable)
        if not self._closed:
            self._events.append((event, octets))
            self._octets += octets
            self._budget.add(octets)
            self._readable.set()

    async def get(self) -> SignalingEvent:
        """The oldest event. Raises `EndOfStream` when the queue is closed and empty."""
        while not self._events:
            if self._closed:
                raise EndOfStream
            self._readable.clear()
            await self._readable.wait()
        event, octets = self._events.popleft()
        if not self._closed:
            self._release(octets)
        return event

    def close(self) -> None:
        """Take no more events. Waiting ones can still be read, and no longer count in the budget."""
        if not self._closed:
            self._closed = True
            self._release(self._octets)
            self._readable.set()

    def _release(self, octets: int) -> None:
        self._octets -= octets
        self._budget.release(octets)
        self._writable.set()

    def _has_room(self, octets: int) -> bool:
        if not self._events:
            return True
        within_own = len(self._events) < self._limit and self._octets + octets <= self._octet_limit
        return within_own and self._budget.has_room(octets)

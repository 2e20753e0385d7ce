# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The queue between the websocket's reader and the call: bounded, ordered, and with an end."""

from __future__ import annotations

import asyncio
from collections import deque

from live_transcription.signaling.events import EndOfStream, SignalingEvent


class EventQueue:
    """One writer, one reader. A full queue makes the writer wait, so that backpressure reaches the websocket."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[SignalingEvent] = deque()
        self._closed = False
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._events)

    async def put(self, event: SignalingEvent) -> None:
        """Waits for room; drops the event if the queue is closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._events) < self._limit)
            if not self._closed:
                self._events.append(event)
                self._changed.notify_all()

    async def get(self) -> SignalingEvent:
        """What is queued comes first; raises `EndOfStream` after it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or bool(self._events))
            if not self._events:
                raise EndOfStream
            event = self._events.popleft()
            self._changed.notify_all()
            return event

    async def close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

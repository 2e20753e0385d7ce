# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Requests about one publisher that the HPB may answer with an error frame of the same id."""

from __future__ import annotations

from live_transcription.signaling.events import SubscribeFailed


class PendingRequests:
    """Ids of `requestoffer` and `answer` frames; the oldest are forgotten beyond `limit`. Success is never reported as such."""

    def __init__(self, limit: int = 1024) -> None:
        self._limit = limit
        self._requests: dict[str, tuple[str, str]] = {}

    def add(self, request_id: str, publisher: str, room_type: str) -> None:
        self._requests[request_id] = (publisher, room_type)
        if len(self._requests) > self._limit:
            del self._requests[next(iter(self._requests))]

    def settle(self, publisher: str, room_type: str) -> None:
        """An offer came."""
        for request_id in [i for i, request in self._requests.items() if request == (publisher, room_type)]:
            del self._requests[request_id]

    def fail(self, request_id: str | None, code: str) -> SubscribeFailed | None:
        """The event for an error with this id, None if the id is not one of ours."""
        if request_id is None or request_id not in self._requests:
            return None
        publisher, room_type = self._requests.pop(request_id)
        return SubscribeFailed(publisher, code, room_type)

    def clear(self) -> None:
        self._requests.clear()

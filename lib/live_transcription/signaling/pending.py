# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Requests about one publisher that the HPB may answer with an error frame of the same id."""

from __future__ import annotations

from collections import OrderedDict

from live_transcription.signaling.events import SubscribeFailed


class PendingRequests:
    """Ids of `requestoffer` and `answer` frames. The HPB does not confirm them, so only the latest `limit` are kept."""

    def __init__(self, limit: int = 1024) -> None:
        self._limit = limit
        self._requests: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._ids: dict[tuple[str, str], set[str]] = {}

    def add(self, request_id: str, publisher: str, room_type: str) -> None:
        self._requests[request_id] = (publisher, room_type)
        self._ids.setdefault((publisher, room_type), set()).add(request_id)
        if len(self._requests) > self._limit:
            self._forget(next(iter(self._requests)))

    def settle(self, publisher: str, room_type: str) -> None:
        """An offer came."""
        for request_id in list(self._ids.get((publisher, room_type), ())):
            self._forget(request_id)

    def fail(self, request_id: str | None, code: str) -> SubscribeFailed | None:
        """The event for an error with this id, None if the id is not one of ours."""
        if request_id is None or request_id not in self._requests:
            return None
        publisher, room_type = self._forget(request_id)
        return SubscribeFailed(publisher, code, room_type)

    def clear(self) -> None:
        self._requests.clear()
        self._ids.clear()

    def _forget(self, request_id: str) -> tuple[str, str]:
        about = self._requests.pop(request_id)
        ids = self._ids[about]
        ids.discard(request_id)
        if not ids:
            del self._ids[about]
        return about

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Whom to ask for an offer next. Pure: `now` comes in, the next deadline goes out.

The in-call flag says that a participant has a microphone, but not that it publishes. The HPB answers a request for a stream
that does not exist after up to 10 s, so those who only claim a microphone must neither keep the others waiting nor cost much:

- At most `MOST_PENDING` requests of a call are on their way at once, and at most `MOST_RETRIES` of them are retries.
- Publishers that have not been asked yet come first: in turns the one that appeared first and the one that appeared last, so
  that nobody waits behind thousands who arrived together. While `MOST_NEWCOMERS` of them are on their way, a retry that is due
  goes first, so that an endless stream of newcomers keeps nobody waiting either.
- Publishers without a stream rest until `webrtc.offer_requests` has the next request due. After that, one of them is asked
  every `RETRY_EVERY_S`: the one that has been due for longest.
"""

from __future__ import annotations

import heapq
from collections.abc import Set

#: Requests of one call that may be without an answer at once.
MOST_PENDING = 64
#: Retries leave the rest to newcomers.
MOST_RETRIES = 48
#: Newcomers leave the rest to retries that are due.
MOST_NEWCOMERS = 48
#: The least time between two retries, in seconds.
RETRY_EVERY_S = 0.125


class OfferQueue:
    """Publishers by session id."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._new: dict[str, None] = {}
        self._due: list[tuple[float, str]] = []
        self._resting: dict[str, float] = {}
        self._pending: set[str] = set()
        #: Those of them that have been asked before.
        self._retried: set[str] = set()
        self._retry_at = 0.0
        self._newest_next = False

    @property
    def known(self) -> Set[str]:
        return self._known

    @property
    def pending(self) -> Set[str]:
        """Publishers that were taken and have not answered yet."""
        return self._pending

    def add(self, session_id: str) -> None:
        """Somebody may publish. Nothing happens if they are known."""
        if session_id not in self._known:
            self._known.add(session_id)
            self._new[session_id] = None

    def remove(self, session_id: str) -> None:
        """They do not publish any more. Nothing happens if they are not known."""
        self._known.discard(session_id)
        self._new.pop(session_id, None)
        self._resting.pop(session_id, None)
        self.answered(session_id)

    def clear(self) -> None:
        """Every session id is void."""
        for session_id in list(self._known):
            self.remove(session_id)
        self._due.clear()

    def take(self, now: float) -> str | None:
        """The next publisher to ask; it counts as pending from now on. None: nobody may be asked at present."""
        if len(self._pending) >= MOST_PENDING:
            return None
        if len(self._pending) - len(self._retried) < MOST_NEWCOMERS:
            session_id = self._take_new() or self._take_due(now)
        else:
            session_id = self._take_due(now) or self._take_new()
        if session_id is None:
            return None
        self._pending.add(session_id)
        return session_id

    def answered(self, session_id: str) -> None:
        """An offer came."""
        self._pending.discard(session_id)
        self._retried.discard(session_id)

    def rest(self, session_id: str, until: float) -> None:
        """Ask no earlier than `until`, which replaces an earlier rest. Nothing happens if they are not known."""
        if session_id not in self._known:
            return
        self.answered(session_id)
        self._resting[session_id] = until
        heapq.heappush(self._due, (until, session_id))

    @property
    def deadline(self) -> float | None:
        """When `take` may give somebody again, if nothing else changes before."""
        if len(self._pending) >= MOST_PENDING or len(self._retried) >= MOST_RETRIES:
            return None
        self._drop_stale()
        return max(self._due[0][0], self._retry_at) if self._due else None

    def _take_new(self) -> str | None:
        session_id = next(reversed(self._new) if self._newest_next else iter(self._new), None)
        if session_id is not None:
            self._newest_next = not self._newest_next
            del self._new[session_id]
        return session_id

    def _take_due(self, now: float) -> str | None:
        self._drop_stale()
        if not self._due or len(self._retried) >= MOST_RETRIES or now < max(self._due[0][0], self._retry_at):
            return None
        _, session_id = heapq.heappop(self._due)
        del self._resting[session_id]
        self._retried.add(session_id)
        self._retry_at = now + RETRY_EVERY_S
        return session_id

    def _drop_stale(self) -> None:
        """Entries of those who have gone, or rest until another time."""
        while self._due and self._resting.get(self._due[0][1]) != self._due[0][0]:
            heapq.heappop(self._due)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Decides which publisher to ask for an offer next. Pure: `now` comes in, the next deadline goes out.

The in-call flag says that a participant has a microphone, but not that it publishes. The HPB takes up to 10 s to answer a
request for a stream that does not exist. So participants that only claim a microphone must not delay the others, or cost much:

- At most `MOST_PENDING` requests of a call are pending at once, and at most `MOST_RETRIES` of them are retries.
- Publishers that have not been asked yet come first, alternately the oldest and the newest of them. So nobody waits behind
  thousands who arrived together.
- While `MOST_NEWCOMERS` of these are pending, a retry that is due comes first. So an endless stream of newcomers does not
  block retries.
- Publishers without a stream wait until `webrtc.offer_requests` has the next request due. Then one of them is asked every
  `RETRY_EVERY_S`: the one that has been due for longest.
"""

from __future__ import annotations

import heapq

#: Limit of the requests of one call that have no answer yet.
MOST_PENDING = 64
#: Limit for retries; the rest is left to newcomers.
MOST_RETRIES = 48
#: Limit for publishers that have not been asked before, while a retry is due.
MOST_NEWCOMERS = 48
#: Seconds between two retries, at least.
RETRY_EVERY_S = 0.125


class OfferQueue:
    """The publishers of one call, by session id."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._new: dict[str, None] = {}
        self._due: list[tuple[float, str]] = []
        self._postponed: dict[str, float] = {}
        #: Publishers with a request that has no answer yet.
        self.pending: set[str] = set()
        #: Those of them that have been asked before.
        self._retried: set[str] = set()
        self._retry_at = 0.0
        self._newest_next = False

    def add(self, session_id: str) -> None:
        """Add a participant that may publish. Does nothing if it is known."""
        if session_id not in self._known:
            self._known.add(session_id)
            self._new[session_id] = None

    def remove(self, session_id: str) -> None:
        """Remove a participant that no longer publishes. Does nothing if it is unknown."""
        self._known.discard(session_id)
        self._new.pop(session_id, None)
        self._postponed.pop(session_id, None)
        self.answered(session_id)

    def clear(self) -> None:
        """Remove all publishers: a new session makes every session id void."""
        for session_id in list(self._known):
            self.remove(session_id)
        self._due.clear()

    def take(self, now: float) -> str | None:
        """Take the next publisher to ask, which is pending from now on. None: no request may be sent now."""
        if len(self.pending) >= MOST_PENDING:
            return None
        if len(self.pending) - len(self._retried) < MOST_NEWCOMERS:
            session_id = self._take_new() or self._take_due(now)
        else:
            session_id = self._take_due(now) or self._take_new()
        if session_id is None:
            return None
        self.pending.add(session_id)
        return session_id

    def answered(self, session_id: str) -> None:
        """An offer came: the publisher is no longer pending."""
        self.pending.discard(session_id)
        self._retried.discard(session_id)

    def postpone(self, session_id: str, until: float) -> None:
        """Do not ask this publisher before `until`, which replaces the previous time. Does nothing if it is unknown."""
        if session_id not in self._known:
            return
        self.answered(session_id)
        self._postponed[session_id] = until
        heapq.heappush(self._due, (until, session_id))

    @property
    def deadline(self) -> float | None:
        """When `take` may return another publisher, if nothing else changes before."""
        if len(self.pending) >= MOST_PENDING or len(self._retried) >= MOST_RETRIES:
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
        del self._postponed[session_id]
        self._retried.add(session_id)
        self._retry_at = now + RETRY_EVERY_S
        return session_id

    def _drop_stale(self) -> None:
        """Drop entries of publishers that were removed or postponed again."""
        while self._due and self._postponed.get(self._due[0][1]) != self._due[0][0]:
            heapq.heappop(self._due)

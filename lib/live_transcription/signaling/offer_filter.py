# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Decides which offers and candidates reach the call: those of publishers that were asked, at a bounded rate. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from live_transcription.signaling.events import CandidateReceived, OfferReceived, SubscribeFailed

#: Offers accepted from one publisher: in a row, and per second. Each may cost a new peer, and a publisher can make the HPB send
#: any number of them.
OFFERS_AT_ONCE = 8.0
OFFERS_PER_S = 1.0
#: Limit of the remembered requests. The HPB does not confirm requests, so they would pile up.
MAX_REQUESTS = 1024


class _Publisher:
    """The offers of one publisher and room type: a token bucket, and the number of the latest request that was answered."""

    __slots__ = ("answered", "refilled_at", "tokens")

    def __init__(self) -> None:
        self.tokens = self.refilled_at = 0.0
        self.answered = 0


class OfferFilter:
    """The offers that were requested in this session. Request ids are increasing numbers, as text."""

    def __init__(self) -> None:
        self._publishers: dict[str, dict[str, _Publisher]] = {}
        self._requests: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def clear(self) -> None:
        """A new session has requested nothing."""
        self._publishers.clear()
        self._requests.clear()

    def sent(self, request_id: str, publisher: str, room_type: str, *, expects_offer: bool) -> None:
        """Remember a request or answer, which the HPB may refuse with an error frame of the same id.

        If it `expects_offer`, the next offer of this publisher is accepted at any rate.
        """
        self._requests[request_id] = (publisher, room_type)
        if len(self._requests) > MAX_REQUESTS:
            self._requests.popitem(last=False)
        if expects_offer:
            known = self._publishers.setdefault(publisher, {}).setdefault(room_type, _Publisher())
            known.tokens = max(1.0, known.tokens)

    def rejection(self, event: OfferReceived | CandidateReceived, number: int, now: float) -> str | None:
        """Why an offer or candidate is not for the call; None if it is. `number` is that of the session's latest request."""
        # With `sendoffer` a participant can make the HPB send an offer that was not requested.
        known = self._publishers.get(event.publisher, {}).get(event.room_type)
        if known is None:
            return "not asked for"
        if isinstance(event, OfferReceived):
            known.tokens = min(OFFERS_AT_ONCE, known.tokens + OFFERS_PER_S * (now - known.refilled_at))
            known.refilled_at = now
            if known.tokens < 1.0:
                return "too many"
            known.tokens -= 1.0
            # A late error for an earlier request no longer matters.
            known.answered = number
        return None

    def failure(self, request_id: str | None, code: str) -> SubscribeFailed | None:
        """The event for an error frame with this id; None if it is not about an unanswered request."""
        if request_id is None or request_id not in self._requests:
            return None
        publisher, room_type = self._requests.pop(request_id)
        known = self._publishers.get(publisher, {}).get(room_type)
        if known is not None and int(request_id) <= known.answered:
            return None
        return SubscribeFailed(publisher, code, room_type)

    def left(self, session_ids: Iterable[str]) -> None:
        """These publishers left the room, so their offers are no longer expected."""
        for session_id in session_ids:
            self._publishers.pop(session_id, None)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Decide when to request a publisher's offer from the HPB. Pure: `now` comes in, the next deadline goes out.

Three facts about the HPB (from its source, 1.2.4 to 2.1.1) determine the times:

- A request that arrives while the HPB still handles the end of our previous peer is lost or refused. So the next request is
  sent `REPLACE_S` after the peer was closed.
- A request for a publisher that is not there yet waits on the HPB for up to `PUBLISHER_WAIT_S`, and is answered as soon as the
  publisher appears. More requests are no faster.
- Each waiting request then gets its own Janus subscriber. Each subscriber replaces the previous one and may be closed together
  with it. So at most two requests wait at a time, and only one once the HPB has answered any.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable

from live_transcription.runtime.backoff import Backoff

#: Seconds from the end of a peer to the request for the next one, plus up to a third, so that peers that end together are not
#: replaced at the same time.
REPLACE_S = 1.0
#: Seconds to wait for an offer. It takes about 10 ms if the publisher is there. Without an offer, the request was lost or the
#: publisher is not there yet.
OFFER_TIMEOUT_S = 3.0
#: Seconds for which the HPB keeps a request before it answers `client_not_found`.
PUBLISHER_WAIT_S = 10.0
#: Seconds after which a request without an answer counts as lost, if the HPB has answered others.
_LOST_S = 12.0
#: First and longest wait after a refused request, in seconds.
_REFUSED_S = (1.0, 10.0)
#: First and longest wait for a publisher that probably has no stream, in seconds.
_UNLIKELY_S = (60.0, 300.0)


class OfferRequests:
    """The requests for one publisher's offers, over all its subscriptions.

    `due` is the time of the next request, infinite while none is due. `ask_from` is the earliest time of the first request.
    `rng` returns floats in [0, 1). Times are in seconds.
    """

    def __init__(self, rng: Callable[[], float] = random.random, *, ask_from: float = 0.0) -> None:
        self.due = ask_from
        self._not_before = ask_from
        self._rng = rng
        self._expected = True
        self._proven = False
        #: Times of the requests that may still wait on the HPB.
        self._waiting: deque[float] = deque(maxlen=2)
        self._unanswered = 0
        self._answers = False
        self._backoff = self._new_backoff()

    @property
    def likely(self) -> bool:
        """Whether this publisher is expected to have a stream, or had one recently. If not, requests are rare."""
        return self._expected or self._proven

    def expect(self, expected: bool, now: float) -> bool:
        """Set whether a stream is expected. Returns whether `due` may have changed.

        A publisher that becomes likely is requested at once, unless a request waits on the HPB.
        """
        before, self._expected = self.likely, expected
        if self.likely == before:
            return False
        self._backoff = self._new_backoff()
        if self.likely and self.due < math.inf and not self.waits(now):
            self.due = min(self.due, max(now, self._not_before))
        return True

    def asked(self, now: float) -> None:
        """Note that a request has been sent."""
        before = self._waiting[-1] if self._waiting else -math.inf
        self._waiting.append(now)
        if self._answers or not self.likely:
            self.due = now + _LOST_S
            return
        patience_s = min(_LOST_S, OFFER_TIMEOUT_S * 2**self._unanswered)
        self._unanswered += 1
        self.due = max(now + patience_s * (1.0 + 0.15 * self._rng()), before + PUBLISHER_WAIT_S)

    def refused(self, now: float) -> None:
        """Note that the HPB has answered the oldest request with an error."""
        if not self._waiting:
            return
        asked_at = self._waiting.popleft()
        self._answers = True
        if self.waits(now):
            self.due = self._waiting[-1] + _LOST_S
            return
        if self._proven:
            self._proven = False
            self._backoff = self._new_backoff()
        if self.likely and now - asked_at >= PUBLISHER_WAIT_S / 2:
            self._backoff.reset()  # it waited on the HPB; the next one costs little and will wait, too
        self.due = max(now + self._backoff.next_delay(), self._not_before)

    def offered(self) -> None:
        """Note that an offer has come. No request is due while its peer lives."""
        self._waiting.clear()
        self.due = math.inf

    def connected(self) -> None:
        """Note that a peer was connected. Its later loss does not mean that the next attempt will fail."""
        self._unanswered = 0
        self._answers = False
        self._proven = True
        self._backoff = self._new_backoff()

    def closed(self, now: float) -> None:
        """Note that a peer has ended. Peers that never connect are replaced after longer and longer waits."""
        self._waiting.clear()
        self._not_before = replaceable_at(now, self._rng)
        self.due = max(self._not_before, now + self._backoff.next_delay())

    def waits(self, now: float) -> bool:
        """Return whether a request may still wait on the HPB."""
        return bool(self._waiting) and now - self._waiting[-1] < PUBLISHER_WAIT_S

    def _new_backoff(self) -> Backoff:
        first_s, cap_s = _REFUSED_S if self.likely else _UNLIKELY_S
        return Backoff(self._rng, first_s=first_s, cap_s=cap_s, least=0.5)


def replaceable_at(now: float, rng: Callable[[], float] = random.random) -> float:
    """Return when a publisher may be requested again if its peer is closed now."""
    return now + REPLACE_S * (1.0 + rng() / 3)

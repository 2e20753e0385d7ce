# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When to ask the HPB for a publisher's offer. Pure: `now` comes in, the next deadline goes out.

Three facts about the HPB (its source, 1.2.4 to 2.1.1) decide the times:

- A request that arrives while the HPB still handles the end of our previous peer is lost, or refused. So a peer that was
  closed is given `REPLACE_S` before the next request.
- A request for a publisher that is not there yet waits on the HPB for up to `PUBLISHER_WAIT_S`, and is answered in the moment
  the publisher comes. Asking more often is no faster.
- Each waiting request makes a Janus subscriber of its own in that moment. Each replaces the one before, and may take it down.
  So at most two requests wait at a time, and one where the HPB has shown that it answers.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable

from live_transcription.backoff import Backoff

#: Between the end of a peer and the request for the next one, in seconds; up to a third more, so that peers that end together
#: do not all ask at the same time.
REPLACE_S = 1.0
#: How long an offer is awaited, in seconds. Where the publisher is there it takes some 10 ms, so the request was lost, or the
#: publisher is not there yet.
OFFER_TIMEOUT_S = 3.0
#: How long the HPB keeps a request before it answers `client_not_found`, in seconds.
PUBLISHER_WAIT_S = 10.0
#: A request without any answer counts as lost after this long, in seconds, where the HPB has answered others.
_LOST_S = 12.0
#: First and longest wait after a request that was refused, in seconds.
_REFUSED_S = (1.0, 10.0)
#: The same for a publisher who probably has no stream.
_UNLIKELY_S = (60.0, 300.0)


class OfferRequests:
    """The requests for one publisher's offers, from the first subscription to the last.

    `due` is the time of the next request, infinite while none is due. `ask_from`: the first may not be sent earlier.
    `rng` returns floats in [0, 1).
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
        """Whether a stream is expected of this publisher, or was there a moment ago. An unlikely one is asked seldom."""
        return self._expected or self._proven

    def expect(self, expected: bool, now: float) -> bool:
        """One that becomes likely is asked at once, unless a request waits already. Returns whether `due` may have changed."""
        before, self._expected = self.likely, expected
        if self.likely == before:
            return False
        self._backoff = self._new_backoff()
        if self.likely and self.due < math.inf and not self.waits(now):
            self.due = min(self.due, max(now, self._not_before))
        return True

    def asked(self, now: float) -> None:
        """A request has been sent."""
        before = self._waiting[-1] if self._waiting else -math.inf
        self._waiting.append(now)
        if self._answers or not self.likely:
            self.due = now + _LOST_S
            return
        patience_s = min(_LOST_S, OFFER_TIMEOUT_S * 2**self._unanswered)
        self._unanswered += 1
        self.due = max(now + patience_s * (1.0 + 0.15 * self._rng()), before + PUBLISHER_WAIT_S)

    def refused(self, now: float) -> None:
        """The HPB has answered the oldest request with an error."""
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
            self._backoff.reset()  # it has waited on the HPB: there the next one costs little, and is on time
        self.due = max(now + self._backoff.next_delay(), self._not_before)

    def offered(self) -> None:
        """An offer has come; none is due as long as its peer lives."""
        self._waiting.clear()
        self.due = math.inf

    def connected(self) -> None:
        """A peer was connected: its loss is no sign that the next attempt fails."""
        self._unanswered = 0
        self._answers = False
        self._proven = True
        self._backoff = self._new_backoff()

    def closed(self, now: float) -> None:
        """A peer has ended; one that was never connected is replaced ever more slowly."""
        self._waiting.clear()
        self._not_before = replaceable_at(now, self._rng)
        self.due = max(self._not_before, now + self._backoff.next_delay())

    def waits(self, now: float) -> bool:
        """Whether a request may still wait on the HPB."""
        return bool(self._waiting) and now - self._waiting[-1] < PUBLISHER_WAIT_S

    def _new_backoff(self) -> Backoff:
        first_s, cap_s = _REFUSED_S if self.likely else _UNLIKELY_S
        return Backoff(self._rng, first_s=first_s, cap_s=cap_s, least=0.5)


def replaceable_at(now: float, rng: Callable[[], float] = random.random) -> float:
    """When the HPB may be asked again for a publisher whose peer is closed now."""
    return now + REPLACE_S * (1.0 + rng() / 3)

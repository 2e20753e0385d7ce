# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The publishers of one call: whose offer to request next, and a speaker for each that has a subscription."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from functools import partial

from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.offer_queue import OfferQueue
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Targets
from live_transcription.capacity.watch import Capacity, PublisherClaims
from live_transcription.runtime.backoff import Restarts
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.speaker.speaker import Speaker
from live_transcription.webrtc.offer_requests import OfferRequests, replaceable_at

logger = logging.getLogger(__name__)

#: Seconds after a new session for which publishers keep their slots and subscriptions, even if a request fails.
RETURN_S = 30.0
#: Seconds before a publisher that lost its subscription to another one asks for a subscription again.
YIELD_S = 1.0


class Publishers:
    """Starts a speaker for every publisher that somebody wants to read, as far as the shared limits allow.

    All methods take effect at once and never wait. The speakers run in the task group that `start` gets. `new_speaker` makes
    the speaker of a session id, with these claims and the history of its requests; the last argument is its `on_unavailable`.
    """

    def __init__(
        self,
        room_token: str,
        roster: Roster,
        targets: Targets,
        delivery: CaptionDelivery,
        sharing: Capacity,
        new_speaker: Callable[[str, PublisherClaims, OfferRequests, Callable[[], None]], Speaker],
    ) -> None:
        self._room_token = room_token
        self._roster = roster
        self._targets = targets
        self._delivery = delivery
        self._sharing = sharing
        self._new_speaker = new_speaker
        self._tasks: asyncio.TaskGroup | None = None
        self._paused = self._ending = False
        #: By session id: the speakers that run and have not been asked to end.
        self.speakers: dict[str, Speaker] = {}
        self._speaker_tasks: dict[asyncio.Task[None], Speaker] = {}
        # By the publisher's session id: the queue of publishers to ask for an offer, the claims of those taken from the queue,
        # the requests of those without a stream, and the earliest time of the next request after a closed peer.
        self._offers = OfferQueue()
        self._claims: dict[str, PublisherClaims] = {}
        self._changed_claims: set[str] = set()
        self._unavailable: dict[str, OfferRequests] = {}
        self._ask_from: dict[str, float] = {}
        self._returning_until = 0.0
        self._readership: tuple[frozenset[str] | None, bool] = (frozenset(), False)
        self._restarts = Restarts(random.random)
        self._alarm = DeadlineTimer(self._subscribe)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Speakers may be started from now on, in this task group."""
        self._tasks = tasks

    @property
    def connected(self) -> int:
        """Number of publishers for which the SFU has sent an offer."""
        return 0 if self._tasks is None else len(self.speakers.keys() - self._offers.pending)

    def review(self) -> None:
        """The room or the targets have changed: start and stop speakers."""
        self._paused = False
        for session_id in self._take_changed():
            self._review(session_id)
        self._subscribe()

    def pause(self) -> None:
        """Stop all speakers and claim nothing until the next `review`."""
        self._paused = True
        for session_id in list(self._claims):
            if session_id in self.speakers:
                self._stop(session_id)
            else:  # it waits for a subscription, which it could not use
                self._release(session_id)
            self._offers.remove(session_id)
            self._offers.add(session_id)

    def stop_asking(self) -> None:
        """Request no more offers, since the call is about to end. Running speakers continue until `end`."""
        self._ending = True

    def reset(self) -> None:
        """A new signaling session: all session ids are void, and the publishers will be back with new ones."""
        if self._ending:  # the units of this room may already be those of the call that replaces this one
            self._release_all()
        else:
            self.expect_back()
        for session_id in list(self.speakers):
            self._stop(session_id)
        self._offers.clear()
        self._unavailable.clear()
        self._ask_from.clear()

    def expect_back(self) -> None:
        """Release all claims, but reserve their units for publishers that will be back with new session ids."""
        self._sharing.expect_back(self._room_token)
        self._returning_until = self._now() + RETURN_S
        self._release_all()

    def take_over(self, other: Publishers) -> None:
        """Replace the publishers of another call of the same room, whose slots and subscriptions they get."""
        other.expect_back()
        self._returning_until = other._returning_until

    def answered(self, session_id: str) -> None:
        """The SFU has sent an offer of this publisher, so another one can be asked."""
        self._offers.answered(session_id)
        self._subscribe()

    async def end(self, within_s: float) -> None:
        """Let all speakers end with their last words; cancel those that take longer than `within_s`."""
        self.stop_asking()
        for session_id in list(self.speakers):
            self._stop(session_id)
        if self._speaker_tasks:
            _, late = await asyncio.wait(self._speaker_tasks, timeout=within_s)
            for task in late:
                self._speaker_tasks[task].give_up()
                task.cancel()

    def close(self, *, returning: bool) -> None:
        """The call is over. With `returning` it failed, and its publishers will be back in the call that replaces it."""
        self._tasks = None
        if returning:
            self.expect_back()
        else:
            self._release_all()
        self._alarm.cancel()

    # Whom to ask for an offer.

    def _take_changed(self) -> Iterable[str]:
        """The sessions that changed, or all publishers if the readers changed, on whom it depends who has a speaker."""
        changed = self._roster.take_changed()
        readers = self._targets.readership()
        readership = (readers, readers is not None and self._may_reload())
        if readership == self._readership:
            return changed
        self._readership = readership
        return dict.fromkeys((*changed, *self._roster.publishers()))

    def _review(self, session_id: str) -> None:
        if session_id not in self._roster:
            self._restarts.forget(session_id)
        wanted = self._targets.wants(session_id)
        if not wanted and session_id in self.speakers and session_id in self._roster.publishers() and self._may_reload():
            return  # kept as it is for a reader who may be back in a moment
        # One that does not publish, or that nobody reads, needs no subscription.
        if session_id not in self._roster.publishers() or not wanted:
            if session_id in self.speakers:
                self._stop(session_id)
            self._unavailable.pop(session_id, None)
            self._offers.remove(session_id)
            self._release(session_id)
            return
        # All others are asked in turn. How often those without a stream are asked depends on whether one is expected.
        self._offers.add(session_id)
        expected = self._roster.expects_audio(session_id)
        if speaker := self.speakers.get(session_id):
            speaker.expect(expected)
        elif (requests := self._unavailable.get(session_id)) is not None:
            changed = requests.expect(expected, self._now())
            if changed and session_id not in self._claims:  # one with claims waits for a subscription, not for its next request
                self._offers.postpone(session_id, requests.due)

    def _may_reload(self) -> bool:
        until = self._targets.reload_until()
        return until is not None and self._now() < until

    def _subscribe(self) -> None:
        """Ask for offers, as far as the queue and the shared limits allow."""
        if self._tasks is None or self._paused or self._ending:
            return
        now = self._now()
        while self._changed_claims:
            self._follow_claims(self._changed_claims.pop(), now)
        while (session_id := self._offers.take(now)) is not None:
            changed = partial(self._subscription_changed, session_id)
            self._claims[session_id] = claims = self._sharing.claims(self._room_token, changed)
            if claims.subscribe() and session_id not in self.speakers:
                self._start(session_id, claims)
        # A grant may have taken a subscription from another publisher of this call.
        self._alarm.set(now if self._changed_claims else self._offers.deadline)

    def _subscription_changed(self, session_id: str) -> None:
        """Called from another call or from `Capacity`: only note the change, and handle it from our own alarm."""
        self._changed_claims.add(session_id)
        self._alarm.set(self._now())

    def _follow_claims(self, session_id: str, now: float) -> None:
        """Start or stop the speaker after its subscription was granted or taken away."""
        claims = self._claims.get(session_id)
        if claims is None:
            return
        if session_id not in self.speakers:
            if claims.subscribed or claims.subscribe():
                self._start(session_id, claims)
        elif not claims.subscribed:
            self._stop(session_id)
            self._offers.postpone(session_id, now + YIELD_S)

    def _release(self, session_id: str, *, keep: bool = False) -> None:
        if claims := self._claims.pop(session_id, None):
            claims.release(keep=keep)

    def _release_all(self) -> None:
        for session_id in list(self._claims):
            self._release(session_id)

    # Speakers.

    def _start(self, session_id: str, claims: PublisherClaims) -> None:
        assert self._tasks is not None
        requests = self._unavailable.pop(session_id, None) or OfferRequests(ask_from=self._ask_from.pop(session_id, 0.0))
        speaker = self._new_speaker(session_id, claims, requests, lambda: self._became_unavailable(speaker))
        speaker.expect(self._roster.expects_audio(session_id))
        self.speakers[session_id] = speaker
        self._delivery.leave(session_id, leaving=False)
        task = self._tasks.create_task(self._supervise(speaker), name="speaker")
        self._speaker_tasks[task] = speaker
        task.add_done_callback(self._speaker_tasks.pop)

    def _became_unavailable(self, speaker: Speaker) -> None:
        """The publisher has no stream. Release its claims until the next request is due."""
        session_id = speaker.session_id
        if self.speakers.get(session_id) is speaker:
            self._stop(session_id, keep=self._now() < self._returning_until, closes_peer=False)
            self._unavailable[session_id] = speaker.requests
            self._offers.postpone(session_id, speaker.requests.due)
            self._subscribe()

    def _stop(self, session_id: str, *, keep: bool = False, closes_peer: bool = True) -> None:
        """Let a speaker end with its last words. Another speaker may use the session id at once.

        `keep` reserves its units. `closes_peer` delays the next request until the HPB has noticed that the peer is closed.
        """
        self._release(session_id, keep=keep)
        self.speakers.pop(session_id).end()
        self._delivery.leave(session_id)
        if closes_peer:
            self._delay_request(session_id)

    def _delay_request(self, session_id: str) -> None:
        now = self._now()
        # Forget the times that have passed; they are nearly in order.
        while self._ask_from and next(iter(self._ask_from.values())) <= now:
            del self._ask_from[next(iter(self._ask_from))]
        self._ask_from.pop(session_id, None)
        self._ask_from[session_id] = replaceable_at(now)

    async def _supervise(self, speaker: Speaker) -> None:
        began_at = self._now()
        try:
            await speaker.run()
        except Exception:  # the other speakers continue, and this one is restarted
            logger.exception("A speaker failed", extra={"room": self._room_token, "speaker": speaker.session_id})
            if self.speakers.get(speaker.session_id) is speaker:
                self._stop(speaker.session_id, keep=True)
                now = self._now()
                self._offers.postpone(speaker.session_id, now + self._restarts.failed(speaker.session_id, now - began_at))
                self._subscribe()
        finally:
            # A speaker may have come back before its last words were delivered.
            if speaker.session_id not in self.speakers:
                self._delivery.forget(speaker.session_id)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

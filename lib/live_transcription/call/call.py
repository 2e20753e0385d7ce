# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One call: owns the signaling session and the speakers of one room, and brings captions to those who asked for them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.offer_queue import OfferQueue
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Target, Targets
from live_transcription.capacity.load import CaptionInterval
from live_transcription.config import EngineConfig
from live_transcription.errors import NoMediaPath, SignalingError, SttError
from live_transcription.observability import metrics
from live_transcription.runtime.backoff import Restarts
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.signaling.connection import SignalingConnection
from live_transcription.signaling.events import (
    CallEndedForAll,
    CandidateReceived,
    EndOfStream,
    OfferReceived,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    RemovedFromRoom,
    SessionInterrupted,
    SessionStarted,
    SignalingEvent,
    SubscribeFailed,
)
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.speaker.slot import Slot
from live_transcription.speaker.speaker import IceServers, Speaker
from live_transcription.stt.base import SttBackend
from live_transcription.types import Caption, TurnAnswer
from live_transcription.vad.detector import preload as preload_voice_activity
from live_transcription.webrtc.offer_requests import OfferRequests, replaceable_at

logger = logging.getLogger(__name__)

#: Seconds for the last words of all speakers when a call ends by itself; the bye comes after.
LAST_WORDS_S = 1.3
#: Seconds for the bye.
GOODBYE_S = 0.3
#: Seconds between two attempts to queue last words that a full queue has refused.
FLUSH_S = 0.02
#: Seconds that the end of a call takes besides last words: the bye, and closing connections.
CLOSE_S = 0.4
#: Seconds after a new session for which publishers keep their slots and subscriptions, even if a request fails.
RETURN_S = 30.0
#: Seconds before a publisher that lost its subscription to another one asks for a subscription again.
YIELD_S = 1.0
#: Seconds without signaling after which all speakers end with their last words. The HPB keeps our session for 30 s and then
#: closes our subscriptions, and without signaling there are no new ones.
CUT_OFF_S = 45.0
ROOM_TYPE = "video"


class Claims(Slot, Protocol):
    """A publisher's claims on limited resources; implemented by `capacity.PublisherClaims`."""

    @property
    def subscribed(self) -> bool: ...
    def subscribe(self) -> bool:
        """Request a subscription. Returns whether it was granted at once."""

    def release(self, *, keep: bool = False) -> None:
        """The publisher is gone. `keep`: reserve the units, since the publisher will be back in a moment."""


class Sharing(Protocol):
    """The resources that all calls share; implemented by `capacity.Capacity`."""

    def claims(self, call: str, on_subscription: Callable[[], None]) -> Claims:
        """For one publisher. `on_subscription` is called when its subscription is granted later, or taken away."""

    def expect_back(self, call: str) -> None:
        """The publishers of this call get new session ids."""


class PublisherChannel:
    """A subscriber's messages about its publisher (`webrtc.subscriber.SubscriberChannel`), sent in the call's session."""

    def __init__(self, connection: SignalingConnection, publisher: str) -> None:
        self._connection = connection
        self._publisher = publisher

    def request_offer(self) -> None:
        self._connection.request_offer(self._publisher, ROOM_TYPE)

    def send_answer(self, sid: str, sdp: str) -> None:
        self._connection.send_answer(self._publisher, ROOM_TYPE, sid, sdp)

    def send_candidate(self, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:
        self._connection.send_candidate(self._publisher, ROOM_TYPE, sid, candidate, sdp_mid, sdp_m_line_index)


class Call:
    """Captions one room until `end()`, until there is no reader, or until the room does not exist.

    While the HPB is unreachable or refuses the app, the call keeps its targets and tries again. `run` raises an ExceptionGroup
    of `RoomRefused` if the HPB refuses this room.
    """

    def __init__(
        self,
        room_token: str,
        language: str,
        config: EngineConfig,
        backend: SttBackend,
        *,
        guard: HelloGuard,
        ice_servers: IceServers,
        sharing: Sharing,
        interval: CaptionInterval,
        on_caption_sent: Callable[[Caption], None],
        on_stt_error: Callable[[SttError], None],
    ) -> None:
        self.room_token = room_token
        self.language = language
        self.joined = asyncio.Event()
        self._config = config
        self._backend = backend
        self._ice_servers = ice_servers
        self._sharing = sharing
        self._on_stt_error = on_stt_error
        self._connection = SignalingConnection(config.hpb, room_token, guard=guard)
        self._roster = Roster()
        self._targets = Targets(self._roster)
        self._targets.suspend()
        self._delivery = CaptionDelivery(self._connection, self._targets, on_sent=on_caption_sent, interval=interval)
        self._interrupted_at: float | None = None
        self._dropped_frames = self._repeated_captions = 0
        self._alarm = DeadlineTimer(self._reconcile)
        self._offer_alarm = DeadlineTimer(self._subscribe)
        self._speakers: dict[str, Speaker] = {}
        self._speaker_tasks: dict[asyncio.Task[None], Speaker] = {}
        # By the publisher's session id: the queue of publishers to ask for an offer, the claims of those taken from the queue,
        # the requests of those without a stream, and the earliest time of the next request after a closed peer.
        self._offers = OfferQueue()
        self._claims: dict[str, Claims] = {}
        self._changed_claims: set[str] = set()
        self._refused: dict[str, OfferRequests] = {}
        self._ask_from: dict[str, float] = {}
        self._returning_until = 0.0
        self._readership: frozenset[str] | None = frozenset()
        self._restarts = Restarts(random.random)
        self._ended = asyncio.Event()
        self._last_words_s = LAST_WORDS_S
        self._tasks: asyncio.TaskGroup | None = None

    # Requests of the service; all take effect at once and never wait.

    def add_target(self, nc_session_id: str, user_id: str | None) -> None:
        self._targets.add(nc_session_id, user_id, self._now())
        self._reconcile()

    def remove_target(self, nc_session_id: str) -> None:
        self._targets.remove(nc_session_id, self._now())
        self._reconcile()

    def has_target(self, nc_session_id: str) -> bool:
        return nc_session_id in self._targets

    def targets(self) -> Sequence[Target]:
        return self._targets.export()

    def set_language(self, language: str) -> None:
        self.language = language
        for speaker in self._speakers.values():
            speaker.set_language(language)

    def take_over(self, other: Call) -> None:
        """Replace another call of the same room: take its targets, and the slots and subscriptions of its publishers."""
        other._expect_back()
        self._returning_until = other._returning_until
        for target in other.targets():
            self.add_target(target.nc_session_id, target.user_id)

    def end(self, *, within_s: float = LAST_WORDS_S + CLOSE_S) -> None:
        """End the call. `within_s`: seconds that this may take, most of them for the last words; the first request counts."""
        if not self._ended.is_set():
            self._last_words_s = max(0.0, within_s - CLOSE_S)
        self._ended.set()

    async def wait_for_end(self, seconds: float) -> None:
        """Wait so many seconds, or until `end` is called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    @property
    def config(self) -> EngineConfig:
        """What the call was made with."""
        return self._config

    @property
    def trouble(self) -> SignalingError | None:
        """Why the app is not in the room, if known."""
        return self._connection.last_error

    @property
    def refused(self) -> asyncio.Event:
        """Set while the HPB refuses the app; `trouble` says why."""
        return self._connection.refused

    def path_failures(self) -> Mapping[str, NoMediaPath]:
        """Failures of the path to the SFU, by the publisher's session id."""
        return {name: failure for name, speaker in self._speakers.items() if (failure := speaker.path_failure) is not None}

    def turn_answers(self) -> Mapping[str, TurnAnswer]:
        """The last answer of each TURN server, by the server's address."""
        answers = [answer for speaker in self._speakers.values() for answer in speaker.turn_answers.items()]
        return dict(sorted(answers, key=lambda answer: answer[1].at))

    @property
    def ending(self) -> bool:
        return self._ended.is_set()

    @property
    def speaker_count(self) -> int:
        """Number of publishers that the SFU has sent an offer for."""
        return 0 if self._tasks is None else len(self._speakers.keys() - self._offers.pending)

    @property
    def target_count(self) -> int:
        return len(self._targets)

    # Lifetime.

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._stay_connected(), name="signaling")
                helping = (
                    tasks.create_task(self._prefetch(), name="STUN and TURN servers"),
                    tasks.create_task(self._warm(), name="warm speech-to-text"),
                    tasks.create_task(self._listen(), name="signaling events"),
                )
                self._reconcile()
                await self._ended.wait()
                await self._say_last_words()
                await self._connection.close(GOODBYE_S)
                for task in helping:
                    task.cancel()
        finally:
            self._tasks = None
            if self._ended.is_set():
                self._release_claims()
            else:  # the call failed, and will be started again
                self._expect_back()
            self.joined.clear()
            self._delivery.close()
            self._count_frames()
            self._alarm.cancel()
            self._offer_alarm.cancel()

    async def _stay_connected(self) -> None:
        """End the call as soon as the room is refused, before anything is closed, so that no request joins it any more."""
        try:
            await self._connection.run()
        except SignalingError:
            self.end()
            raise

    async def _prefetch(self) -> None:
        """Fetch the ICE servers before the first speaker needs them."""
        await self._ice_servers()

    async def _warm(self) -> None:
        await asyncio.to_thread(preload_voice_activity)
        try:
            await self._backend.warm()
        except SttError as failure:
            logger.warning("Speech-to-text is not ready: %s", failure, extra={"room": self.room_token, "code": failure.code})
            self._on_stt_error(failure)

    async def _say_last_words(self) -> None:
        until = self._now() + self._last_words_s
        for session_id in list(self._speakers):
            self._stop_speaker(session_id)
        if self._speaker_tasks:
            _, late = await asyncio.wait(self._speaker_tasks, timeout=self._last_words_s)
            for task in late:
                self._speaker_tasks[task].give_up()
                task.cancel()
        # The last words of many to many are more than the queue to the HPB takes at once.
        while self._delivery.blocked and self._now() < until:
            await asyncio.sleep(FLUSH_S)
            self._delivery.flush()

    async def _listen(self) -> None:
        with suppress(EndOfStream):
            while True:
                self._take(await self._connection.next_event())

    def _take(self, event: SignalingEvent) -> None:
        match event:
            case OfferReceived(publisher=publisher, room_type=room_type, sid=sid, sdp=sdp):
                if room_type == ROOM_TYPE and (speaker := self._speakers.get(publisher)):
                    self._offers.answered(publisher)
                    speaker.offer(sid, sdp)
                    self._subscribe()
            case CandidateReceived(publisher=publisher, room_type=room_type, sid=sid, candidate=candidate):
                if room_type == ROOM_TYPE and (speaker := self._speakers.get(publisher)):
                    speaker.candidate(sid, candidate, event.sdp_mid, event.sdp_m_line_index)
            case SubscribeFailed(publisher=publisher, reason=reason):
                if speaker := self._speakers.get(publisher):
                    speaker.refused(reason)
            case SessionStarted():
                self._start_session(event)
            case SessionInterrupted():
                self._targets.suspend()
                self._interrupted_at = self._now()
                self._reconcile()
            case ParticipantsJoined() | ParticipantsUpdated() | ParticipantsLeft():
                self._targets.apply(event, self._now())
                self._reconcile()
            case CallEndedForAll():
                logger.info("The call was ended for all", extra={"room": self.room_token})
                self.end()
            case RemovedFromRoom():
                logger.info("Removed from the room", extra={"room": self.room_token})
                self.end()

    def _start_session(self, event: SessionStarted) -> None:
        if self.joined.is_set():
            metrics.signaling_reconnects.labels("resumed" if event.resumed else "new session").inc()
        self._targets.resume(self._now())
        self._interrupted_at = None
        if not event.resumed:
            self._expect_back()
            for session_id in list(self._speakers):
                self._stop_speaker(session_id)
            self._offers.clear()
            self._refused.clear()
            self._ask_from.clear()
            recipient_call = "recipient-call" in event.features
            self._targets.reset(self._now(), own_session_id=event.session_id, recipient_call=recipient_call)
        self.joined.set()
        self._reconcile()
        self._delivery.flush()

    # Speakers.

    def _reconcile(self) -> None:
        """Make the speakers match the room: every publisher of audio that somebody else wants to read."""
        if self._tasks is None or self._ended.is_set():
            return
        now = self._now()
        empty_since = self._targets.empty_since(now)
        if empty_since is not None and now >= empty_since + self._config.no_target_linger_s:
            logger.info("The call ends: it has had no reader for a while", extra={"room": self.room_token})
            self.end()
            return
        if self._cut_off(now):
            for session_id in list(self._claims):
                if session_id in self._speakers:
                    self._stop_speaker(session_id)
                else:  # it waits for a subscription, which it could not use
                    self._release(session_id)
                self._offers.remove(session_id)
                self._offers.add(session_id)
        else:
            self._start_and_stop_speakers()
        self._count_frames()
        deadlines = [
            None if self._interrupted_at is None or self._cut_off(now) else self._interrupted_at + CUT_OFF_S,
            self._targets.next_deadline(),
            None if empty_since is None else empty_since + self._config.no_target_linger_s,
        ]
        self._alarm.set(min((deadline for deadline in deadlines if deadline is not None), default=None))

    def _cut_off(self, now: float) -> bool:
        """Whether signaling has been interrupted for so long that the HPB has closed our subscriptions."""
        return self._interrupted_at is not None and now >= self._interrupted_at + CUT_OFF_S

    def _start_and_stop_speakers(self) -> None:
        for session_id in self._changed_publishers():
            self._review(session_id)
        self._subscribe()

    def _changed_publishers(self) -> Iterable[str]:
        """Sessions to `_review`: those that changed, and all publishers if `Targets.readership` changed."""
        changed = self._roster.take_changed()
        readership = self._targets.readership()
        if readership == self._readership:
            return changed
        self._readership = readership
        return dict.fromkeys((*changed, *self._roster.publishers()))

    def _review(self, session_id: str) -> None:
        if not self._roster.present(session_id):
            self._restarts.forget(session_id)
        if session_id not in self._roster.publishers() or not self._targets.wants(session_id):
            if session_id in self._speakers:
                self._stop_speaker(session_id)
            self._refused.pop(session_id, None)
            self._offers.remove(session_id)
            self._release(session_id)
            return
        self._offers.add(session_id)
        expected = self._roster.expects_audio(session_id)
        if speaker := self._speakers.get(session_id):
            speaker.expect(expected)
        elif (requests := self._refused.get(session_id)) is not None:
            changed = requests.expect(expected, self._now())
            if changed and session_id not in self._claims:  # one with claims rests no more: it waits for a subscription
                self._offers.rest(session_id, requests.due)

    def _subscribe(self) -> None:
        """Ask for offers, as far as the queue and the shared limits allow."""
        now = self._now()
        if self._tasks is None or self._ended.is_set() or self._cut_off(now):
            return
        while self._changed_claims:
            self._follow_claims(self._changed_claims.pop(), now)
        while (session_id := self._offers.take(now)) is not None:
            self._claims[session_id] = claims = self._sharing.claims(
                self.room_token, partial(self._subscription_changed, session_id)
            )
            if claims.subscribe() and session_id not in self._speakers:
                self._start_speaker(session_id, claims)
        # A grant may have taken a subscription from another publisher of this call.
        self._offer_alarm.set(now if self._changed_claims else self._offers.deadline)

    def _subscription_changed(self, session_id: str) -> None:
        """Called from another call or from `Capacity`: only note the change, and handle it from our own alarm."""
        self._changed_claims.add(session_id)
        self._offer_alarm.set(self._now())

    def _follow_claims(self, session_id: str, now: float) -> None:
        """Start or stop the speaker after its subscription was granted or taken away."""
        claims = self._claims.get(session_id)
        if claims is None:
            return
        if session_id not in self._speakers:
            if claims.subscribed or claims.subscribe():
                self._start_speaker(session_id, claims)
        elif not claims.subscribed:
            self._stop_speaker(session_id)
            self._offers.rest(session_id, now + YIELD_S)

    def _expect_back(self) -> None:
        self._sharing.expect_back(self.room_token)
        self._returning_until = self._now() + RETURN_S
        self._release_claims()

    def _release(self, session_id: str, *, keep: bool = False) -> None:
        if claims := self._claims.pop(session_id, None):
            claims.release(keep=keep)

    def _release_claims(self) -> None:
        for session_id in list(self._claims):
            self._release(session_id)

    def _start_speaker(self, session_id: str, claims: Claims) -> None:
        assert self._tasks is not None
        speaker = Speaker(
            session_id,
            self.language,
            self._config,
            self._backend,
            channel=PublisherChannel(self._connection, session_id),
            ice_servers=self._ice_servers,
            on_caption=self._delivery.offer,
            on_utterance=self._delivery.end_utterance,
            on_error=self._on_stt_error,
            requests=self._refused.pop(session_id, None) or OfferRequests(ask_from=self._ask_from.pop(session_id, 0.0)),
            slot=claims,
            on_unavailable=lambda: self._unavailable(speaker),
        )
        speaker.expect(self._roster.expects_audio(session_id))
        self._speakers[session_id] = speaker
        self._delivery.leave(session_id, leaving=False)
        task = self._tasks.create_task(self._supervise(speaker), name="speaker")
        self._speaker_tasks[task] = speaker
        task.add_done_callback(self._speaker_tasks.pop)

    def _unavailable(self, speaker: Speaker) -> None:
        """The publisher has no stream. Release its claims until the next request is due."""
        session_id = speaker.session_id
        if self._speakers.get(session_id) is speaker:
            now = self._now()
            self._stop_speaker(session_id, keep=now < self._returning_until, closes_peer=False)
            self._refused[session_id] = speaker.requests
            self._offers.rest(session_id, speaker.requests.due)
            self._subscribe()

    def _stop_speaker(self, session_id: str, *, keep: bool = False, closes_peer: bool = True) -> None:
        """Let a speaker end with its last words. Another speaker may use the session id at once. `keep`: reserve its units.

        `closes_peer`: delay the next request for this publisher until the HPB has noticed that the peer is closed.
        """
        self._release(session_id, keep=keep)
        self._speakers.pop(session_id).end()
        self._delivery.leave(session_id)
        if closes_peer:
            self._keep_distance(session_id)

    def _keep_distance(self, session_id: str) -> None:
        now = self._now()
        while self._ask_from and next(iter(self._ask_from.values())) <= now:  # nearly in the order of their times
            del self._ask_from[next(iter(self._ask_from))]
        self._ask_from.pop(session_id, None)
        self._ask_from[session_id] = replaceable_at(now)

    async def _supervise(self, speaker: Speaker) -> None:
        began_at = self._now()
        try:
            await speaker.run()
        except Exception:  # the other speakers go on, and this one is started again
            logger.exception("A speaker failed", extra={"room": self.room_token, "speaker": speaker.session_id})
            if self._speakers.get(speaker.session_id) is speaker:
                del self._speakers[speaker.session_id]
                self._release(speaker.session_id, keep=True)
                self._keep_distance(speaker.session_id)
                now = self._now()
                self._offers.rest(speaker.session_id, now + self._restarts.failed(speaker.session_id, now - began_at))
                self._subscribe()
        finally:
            # A speaker may have come back before its last words were delivered.
            if speaker.session_id not in self._speakers:
                self._delivery.forget(speaker.session_id)

    def _count_frames(self) -> None:
        dropped, repeated = self._connection.dropped_frames, self._connection.repeated_captions
        metrics.signaling_frames_dropped.inc(dropped - self._dropped_frames)
        metrics.captions_repeated.inc(repeated - self._repeated_captions)
        self._dropped_frames, self._repeated_captions = dropped, repeated

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One call: owns the signaling session and the speakers of one room, and brings captions to those who asked for them."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from live_transcription.alarm import Alarm
from live_transcription.audio.vad import preload as preload_voice_activity
from live_transcription.backoff import Restarts
from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Target, Targets
from live_transcription.captions.pace import Pace
from live_transcription.config import EngineConfig, ReceivePath
from live_transcription.errors import NoMediaPath, SignalingError, SttError
from live_transcription.observability import metrics
from live_transcription.signaling.auth import HelloGuard
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
from live_transcription.speaker.speaker import IceServers, Speaker
from live_transcription.stt.base import SttBackend
from live_transcription.types import Caption, TurnAnswer
from live_transcription.webrtc.offer_requests import replaceable_at

logger = logging.getLogger(__name__)

#: How long speakers may take to say their last words when a call ends by itself, in seconds; the bye comes after.
LAST_WORDS_S = 1.3
#: How long the bye may take, in seconds.
GOODBYE_S = 0.3
#: What the end of a call takes besides last words, in seconds: the bye, and closing what is open.
CLOSE_S = 0.4
#: Wait before speakers who were not admitted are tried again, in seconds: another call may have ended.
ADMIT_AGAIN_S = 5.0
#: How long speakers who were heard before a new session keep their places, in seconds.
RETURN_S = 30.0
#: After so long without signaling the speakers end with their last words, in seconds: the HPB has closed their subscriptions
#: when it kept our session for 30 s, and nobody can be asked for others.
CUT_OFF_S = 45.0
ROOM_TYPE = "video"


class Admit(Protocol):
    """Whether one more speaker may be heard. `returning`: was heard a moment ago."""

    def __call__(self, *, returning: bool = False) -> bool: ...


class PublisherChannel:
    """What one subscriber says to its publisher (`webrtc.subscriber.SubscriberChannel`), by way of the call's session."""

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
    """Runs one room's captions until `end()`, until nobody wants them any more, or until there is no such room.

    An HPB that is away or refuses us is tried again; who wants captions is remembered meanwhile. `run` raises an ExceptionGroup
    of `RoomRefused` where the HPB does not let us into this room.
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
        admit: Admit,
        pace: Pace,
        on_caption_sent: Callable[[Caption], None],
        on_stt_error: Callable[[SttError], None],
    ) -> None:
        self.room_token = room_token
        self.language = language
        self.joined = asyncio.Event()
        self._config = config
        self._backend = backend
        self._ice_servers = ice_servers
        self._admit = admit
        self._pace = pace
        self._on_stt_error = on_stt_error
        self._connection = SignalingConnection(config.hpb, room_token, guard=guard)
        self._roster = Roster()
        self._targets = Targets(self._roster)
        self._targets.suspend()
        self._delivery = CaptionDelivery(self._connection, self._targets, on_sent=on_caption_sent)
        self._interrupted_at: float | None = None
        self._dropped_frames = 0
        self._alarm = Alarm(self._reconcile)
        self._speakers: dict[str, Speaker] = {}
        self._speaker_tasks: dict[asyncio.Task[None], Speaker] = {}
        # Publishers without a speaker: not admitted yet, first come first; failed, until when they rest; rested.
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._resting: dict[str, float] = {}
        self._next_rested_at = math.inf
        self._rested: OrderedDict[str, None] = OrderedDict()
        # Speakers who were heard before a new session and are to be heard again: how many, until when.
        self._returning, self._return_until = 0, 0.0
        self._readership: frozenset[str] | None = frozenset()
        self._ask_from: dict[str, float] = {}
        self._restarts = Restarts(random.random)
        self._ended = asyncio.Event()
        self._last_words_s = LAST_WORDS_S
        self._tasks: asyncio.TaskGroup | None = None

    # What the service asks for; all of it takes effect at once and never waits.

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

    def set_receive_path(self, receive_path: ReceivePath) -> None:
        """For whoever is subscribed from now on; running subscriptions go on as they are."""
        self._config = replace(self._config, receive_path=receive_path)
        for speaker in self._speakers.values():
            speaker.receive_path = receive_path

    def take_over(self, other: Call) -> None:
        """This call replaces another one of the same room: its targets, and the places of its speakers."""
        self._expect_back(len(other._speakers))
        for target in other.targets():
            self.add_target(target.nc_session_id, target.user_id)

    def end(self, *, within_s: float = LAST_WORDS_S + CLOSE_S) -> None:
        """End the call. `within_s`: how long that may take, most of it for the last words; the first request counts."""
        if not self._ended.is_set():
            self._last_words_s = max(0.0, within_s - CLOSE_S)
        self._ended.set()

    def readmit(self) -> None:
        """Try those who were not admitted again, now."""
        self._reconcile()

    async def ended_within(self, seconds: float) -> bool:
        """Whether `end` is called within so many seconds; returns as soon as it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return self._ended.is_set()

    @property
    def trouble(self) -> SignalingError | None:
        """Why we are not in the room, as far as known."""
        return self._connection.last_error

    @property
    def refused(self) -> asyncio.Event:
        """Set while the HPB refuses us; `trouble` says why."""
        return self._connection.refused

    def path_failures(self) -> Mapping[str, NoMediaPath]:
        """Why no audio gets here from the SFU, by the publisher's session id."""
        return {name: failure for name, speaker in self._speakers.items() if (failure := speaker.path_failure) is not None}

    def turn_answers(self) -> Mapping[str, TurnAnswer]:
        """The last answer of each TURN server that was asked, by its address."""
        answers = [answer for speaker in self._speakers.values() for answer in speaker.turn_answers.items()]
        return dict(sorted(answers, key=lambda answer: answer[1].at))

    @property
    def ending(self) -> bool:
        return self._ended.is_set()

    @property
    def speaker_count(self) -> int:
        """Without internal sessions that probably publish nothing, such as a recording server."""
        return 0 if self._tasks is None else sum(speaker.publishes for speaker in self._speakers.values())

    @property
    def waiting_count(self) -> int:
        """Publishers whom somebody wants to read, and who were not admitted."""
        return len(self._waiting) + len(self._rested)

    @property
    def target_count(self) -> int:
        return len(self._targets)

    # The call's own life.

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
            self._waiting.clear()
            self._rested.clear()
            self.joined.clear()
            self._delivery.close()
            self._count_dropped_frames()
            self._alarm.cancel()

    async def _stay_connected(self) -> None:
        """Where there is no such room the call is over at once, not when all of it is closed: nobody may join it any more."""
        try:
            await self._connection.run()
        except SignalingError:
            self.end()
            raise

    async def _prefetch(self) -> None:
        """Have what the first speaker needs at hand when the room is joined."""
        await self._ice_servers()

    async def _warm(self) -> None:
        await asyncio.to_thread(preload_voice_activity)
        try:
            await self._backend.warm()
        except SttError as failure:
            logger.warning("Speech-to-text is not ready: %s", failure, extra={"room": self.room_token, "code": failure.code})
            self._on_stt_error(failure)

    async def _say_last_words(self) -> None:
        for session_id in list(self._speakers):
            self._stop_speaker(session_id)
        if self._speaker_tasks:
            _, late = await asyncio.wait(self._speaker_tasks, timeout=self._last_words_s)
            for task in late:
                self._speaker_tasks[task].give_up()
                task.cancel()

    async def _listen(self) -> None:
        with suppress(EndOfStream):
            while True:
                self._take(await self._connection.next_event())

    def _take(self, event: SignalingEvent) -> None:
        match event:
            case OfferReceived(publisher=publisher, room_type=room_type, sid=sid, sdp=sdp):
                if room_type == ROOM_TYPE and (speaker := self._speakers.get(publisher)):
                    speaker.offer(sid, sdp)
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
            self._expect_back(len(self._speakers))
            for session_id in list(self._speakers):
                self._stop_speaker(session_id)
            recipient_call = "recipient-call" in event.features
            self._targets.reset(self._now(), own_session_id=event.session_id, recipient_call=recipient_call)
        self.joined.set()
        self._reconcile()
        self._delivery.flush()

    # Speakers.

    def _reconcile(self) -> None:
        """Make the speakers match the room: those who publish audio and whom somebody else wants to read."""
        if self._tasks is None or self._ended.is_set():
            return
        now = self._now()
        empty_since = self._targets.empty_since(now)
        if empty_since is not None and now >= empty_since + self._config.no_target_linger_s:
            logger.info("Nobody wants captions any more", extra={"room": self.room_token})
            self.end()
            return
        cut_off_at = None if self._interrupted_at is None else self._interrupted_at + CUT_OFF_S
        if cut_off_at is None or now < cut_off_at:
            self._start_and_stop_speakers(now)
        else:
            cut_off_at = None
            for session_id in list(self._speakers):
                self._stop_speaker(session_id)
                self._waiting[session_id] = None
        self._count_dropped_frames()
        deadlines = [
            cut_off_at,
            self._targets.next_deadline(),
            None if empty_since is None else empty_since + self._config.no_target_linger_s,
            now + ADMIT_AGAIN_S if self.waiting_count else None,
            self._next_rested_at if self._resting else None,
        ]
        self._alarm.set(min((deadline for deadline in deadlines if deadline is not None), default=None))

    def _start_and_stop_speakers(self, now: float) -> None:
        """Look at the publishers that changed. Those who are not admitted wait in the order in which they began to publish."""
        for session_id in self._changed_publishers():
            self._review(session_id)
        if now >= self._next_rested_at:
            for session_id in [session_id for session_id, until in self._resting.items() if now >= until]:
                del self._resting[session_id]
                self._rested[session_id] = None
            self._next_rested_at = min(self._resting.values(), default=math.inf)
        while self._rested and self._admit(returning=True):
            self._start_speaker(self._rested.popitem(last=False)[0])
        while self._waiting:
            returning = self._returning > 0 and now < self._return_until
            if not self._admit(returning=returning):
                break
            self._returning -= returning
            self._start_speaker(self._waiting.popitem(last=False)[0])

    def _changed_publishers(self) -> Iterable[str]:
        """Sessions of which `_review` may decide otherwise than before; all publishers if the first or only reader changed."""
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
            for queue in (self._waiting, self._rested, self._resting):
                queue.pop(session_id, None)
            if session_id in self._speakers:
                self._stop_speaker(session_id)
        elif not any(session_id in queue for queue in (self._speakers, self._rested, self._resting)):
            self._waiting.setdefault(session_id, None)
        if speaker := self._speakers.get(session_id):
            speaker.expect(self._roster.expects_audio(session_id))

    def _expect_back(self, speakers: int) -> None:
        self._returning, self._return_until = speakers, self._now() + RETURN_S

    def _start_speaker(self, session_id: str) -> None:
        assert self._tasks is not None
        speaker = Speaker(
            session_id,
            self.language,
            self._config,
            self._backend,
            channel=PublisherChannel(self._connection, session_id),
            ice_servers=self._ice_servers,
            on_caption=self._delivery.offer,
            on_error=self._on_stt_error,
            pace=self._pace,
            ask_from=self._ask_from.pop(session_id, 0.0),
        )
        speaker.expect(self._roster.expects_audio(session_id))
        self._speakers[session_id] = speaker
        task = self._tasks.create_task(self._supervise(speaker), name="speaker")
        self._speaker_tasks[task] = speaker
        task.add_done_callback(self._speaker_tasks.pop)

    def _stop_speaker(self, session_id: str) -> None:
        """The last words still come; the session id is free for another speaker at once."""
        self._speakers.pop(session_id).end()
        self._keep_distance(session_id)

    def _keep_distance(self, session_id: str) -> None:
        """The HPB needs a moment to notice that a peer is closed; the next request for this publisher waits for it."""
        now = self._now()
        self._ask_from = {publisher: until for publisher, until in self._ask_from.items() if until > now}
        self._ask_from[session_id] = replaceable_at(now)

    async def _supervise(self, speaker: Speaker) -> None:
        began_at = self._now()
        try:
            await speaker.run()
        except Exception:  # the call is the owner that can act: the other speakers go on, this one is started anew
            logger.exception("A speaker failed", extra={"room": self.room_token, "speaker": speaker.session_id})
            if self._speakers.get(speaker.session_id) is speaker:
                del self._speakers[speaker.session_id]
                self._keep_distance(speaker.session_id)
                now = self._now()
                until = now + self._restarts.failed(speaker.session_id, now - began_at)
                self._resting[speaker.session_id] = until
                self._next_rested_at = min(self._next_rested_at, until)
                self._reconcile()
        finally:
            # Who is back before their last words were out goes on speaking.
            if speaker.session_id not in self._speakers:
                self._delivery.leave(speaker.session_id)

    def _count_dropped_frames(self) -> None:
        dropped = self._connection.dropped_frames
        metrics.signaling_frames_dropped.inc(dropped - self._dropped_frames)
        self._dropped_frames = dropped

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

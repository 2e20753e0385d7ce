# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One call: owns the signaling session and the speakers of one room, and brings captions to those who asked for them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
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
from live_transcription.errors import SignalingError, SttError
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
    SessionStarted,
    SignalingEvent,
    SubscribeFailed,
)
from live_transcription.speaker.speaker import IceServers, Speaker
from live_transcription.stt.base import SttBackend
from live_transcription.types import Caption

logger = logging.getLogger(__name__)

#: How long speakers may take to say their last words when the call ends, in seconds; the bye comes after.
LAST_WORDS_S = 1.3
#: How long the bye may take, in seconds.
GOODBYE_S = 0.3
#: Wait before speakers who were not admitted are tried again, in seconds: another call may have ended.
ADMIT_AGAIN_S = 5.0
#: How long speakers who were heard before a new session keep their places, in seconds.
RETURN_S = 30.0
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
    """Runs one room's captions until `end()`, until nobody wants them any more, or until signaling is of no use.

    `run` raises an ExceptionGroup of `SignalingRefused` or `RoomRefused` where the HPB will not have us.
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
        self._on_stt_error = on_stt_error
        self._connection = SignalingConnection(config.hpb, room_token, guard=guard)
        self._roster = Roster()
        self._targets = Targets()
        self._delivery = CaptionDelivery(self._connection, self._targets, on_sent=on_caption_sent, pace=pace)
        self._dropped_frames = self._repeated_captions = 0
        self._alarm = Alarm(self._reconcile)
        self._speakers: dict[str, Speaker] = {}
        self._speaker_tasks: dict[asyncio.Task[None], Speaker] = {}
        self._waiting = 0
        # Speakers who were heard before and are to be heard again: how many, until when; or who, from when on.
        self._returning, self._return_until = 0, 0.0
        self._resting: dict[str, float] = {}
        self._restarts = Restarts(random.random)
        self._ended = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None

    # What the service asks for; all of it takes effect at once and never waits.

    def add_target(self, nc_session_id: str, user_id: str | None) -> None:
        self._targets.add(nc_session_id, user_id, self._now())
        self._reconcile()

    def remove_target(self, nc_session_id: str) -> None:
        self._targets.remove(nc_session_id, self._now())
        self._reconcile()

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

    def end(self) -> None:
        self._ended.set()

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
    def ending(self) -> bool:
        return self._ended.is_set()

    @property
    def speaker_count(self) -> int:
        return 0 if self._tasks is None else len(self._speakers)

    @property
    def waiting_count(self) -> int:
        """Publishers whom somebody wants to read, and who were not admitted."""
        return self._waiting

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
            self._waiting = 0
            self.joined.clear()
            self._delivery.close()
            self._count_frames()
            self._alarm.cancel()

    async def _stay_connected(self) -> None:
        """When the HPB will not have us the call is over at once, not when all of it is closed: nobody may join it any more."""
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
            _, late = await asyncio.wait(self._speaker_tasks, timeout=LAST_WORDS_S)
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
            case ParticipantsJoined() | ParticipantsUpdated() | ParticipantsLeft():
                self._roster.apply(event)
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
        if not event.resumed:
            self._expect_back(len(self._speakers))
            for session_id in list(self._speakers):
                self._stop_speaker(session_id)
            self._roster.reset(event.session_id)
            self._targets.reset(self._now(), recipient_call="recipient-call" in event.features)
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
        self._start_and_stop_speakers(now)
        self._count_frames()
        deadlines = [
            self._targets.next_deadline(),
            None if empty_since is None else empty_since + self._config.no_target_linger_s,
            now + ADMIT_AGAIN_S if self._waiting else None,
            *self._resting.values(),
        ]
        self._alarm.set(min((deadline for deadline in deadlines if deadline is not None), default=None))

    def _start_and_stop_speakers(self, now: float) -> None:
        """Who is not admitted waits, in the order of arrival in the room; who has failed rests."""
        wanted = {publisher for publisher in self._roster.publishers() if self._targets.wants(publisher)}
        for session_id in self._speakers.keys() - wanted:
            self._stop_speaker(session_id)
        for session_id in self._restarts.names():
            if not self._roster.present(session_id):
                self._restarts.forget(session_id)
        self._resting = {session_id: until for session_id, until in self._resting.items() if session_id in wanted}
        self._waiting = 0
        for participant in list(self._roster):
            session_id = participant.session_id
            if session_id not in wanted or session_id in self._speakers or self._resting.get(session_id, now) > now:
                continue
            returning = session_id in self._resting or (self._returning > 0 and now < self._return_until)
            if (self._waiting and not returning) or not self._admit(returning=returning):
                self._waiting += 1
                continue
            if self._resting.pop(session_id, None) is None:
                self._returning -= returning
            self._start_speaker(session_id)

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
            on_utterance=self._delivery.end_utterance,
            on_error=self._on_stt_error,
        )
        self._speakers[session_id] = speaker
        self._delivery.leave(session_id, leaving=False)
        task = self._tasks.create_task(self._supervise(speaker), name="speaker")
        self._speaker_tasks[task] = speaker
        task.add_done_callback(self._speaker_tasks.pop)

    def _stop_speaker(self, session_id: str) -> None:
        """The last words still come; the session id is free for another speaker at once."""
        self._speakers.pop(session_id).end()
        self._delivery.leave(session_id)

    async def _supervise(self, speaker: Speaker) -> None:
        began_at = self._now()
        try:
            await speaker.run()
        except Exception:  # the call is the owner that can act: the other speakers go on, this one is started anew
            logger.exception("A speaker failed", extra={"room": self.room_token, "speaker": speaker.session_id})
            if self._speakers.get(speaker.session_id) is speaker:
                del self._speakers[speaker.session_id]
                now = self._now()
                self._resting[speaker.session_id] = now + self._restarts.failed(speaker.session_id, now - began_at)
                self._reconcile()
        finally:
            # Who is back before their last words were out goes on speaking.
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

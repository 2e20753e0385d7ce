# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One call: owns the signaling session and the speakers of one room, and sends captions to those who asked for them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from live_transcription.call.delivery import CaptionDelivery
from live_transcription.call.publishers import Publishers
from live_transcription.call.roster import Roster
from live_transcription.call.targets import Target, Targets
from live_transcription.call.transcript_feed import TranscriptFeed
from live_transcription.capacity.load import CaptionInterval
from live_transcription.capacity.watch import Capacity, PublisherClaims
from live_transcription.config import EngineConfig
from live_transcription.errors import NoMediaPath, SignalingError, SttError
from live_transcription.observability import metrics
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.signaling import events
from live_transcription.signaling.connection import SignalingConnection
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.signaling.protocol import FEATURE_RECIPIENT_CALL
from live_transcription.speaker.captioner import SHORTEST_GAP_S
from live_transcription.speaker.speaker import IceServers, Speaker
from live_transcription.stt.base import SttBackend
from live_transcription.transcript import Gap, GapReason, Utterance
from live_transcription.transcripts.sink import NoTranscripts, TranscriptSink
from live_transcription.translation.translator import Translations
from live_transcription.types import Caption, TurnAnswer
from live_transcription.vad.detector import preload as preload_voice_activity
from live_transcription.webrtc.offer_requests import OfferRequests

logger = logging.getLogger(__name__)

#: Seconds for the last words of all speakers when a call ends by itself; the bye comes after.
LAST_WORDS_S = 1.3
#: Seconds for the bye.
GOODBYE_S = 0.3
#: Seconds between two attempts to queue last words that a full outbox has refused.
FLUSH_S = 0.02
#: Seconds before the end of that time at which words that still wait for a translation are sent as they were said.
GIVE_UP_S = 0.3
#: Seconds that the end of a call takes besides last words: the bye, and closing connections.
CLOSE_S = 0.4
#: Seconds without signaling after which all speakers end with their last words. The HPB keeps our session for 30 s and then
#: closes our subscriptions, and without signaling there are no new ones.
CUT_OFF_S = 45.0
ROOM_TYPE = "video"


class Call:
    """Captions one room until `end`, until nobody reads them and no transcript is kept, or until the room does not exist.

    While the HPB is unreachable or refuses the app, the call keeps its targets and tries again.
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
        sharing: Capacity,
        interval: CaptionInterval,
        translations: Translations,
        on_caption_sent: Callable[[Caption], None],
        on_stt_error: Callable[[SttError], None],
        transcripts: TranscriptSink | None = None,
        new_session: Callable[..., SignalingConnection] = SignalingConnection,
        new_speaker: Callable[..., Speaker] = Speaker,
    ) -> None:
        """`on_caption_sent` is called for each message that was sent to all its recipients.

        Tests replace `new_session` and `new_speaker`, which are called with the arguments of the two classes. Raises
        ConfigurationError for a malformed address in `config`.
        """
        self.room_token = room_token
        self.language = language
        #: Set while the app is or was in the room; until then requests for captions wait.
        self.joined = asyncio.Event()
        #: The settings that the call was made with.
        self.config = config
        self._backend = backend
        self._ice_servers = ice_servers
        self._on_stt_error = on_stt_error
        self._new_speaker = new_speaker
        self._translations = translations
        self._session = new_session(config.hpb, room_token, guard=guard)
        #: Set while the HPB refuses the app; `last_error` has the reason.
        self.refused = self._session.refused
        roster = Roster()
        self._targets = Targets(roster)
        self._targets.suspend()
        self._delivery = CaptionDelivery(
            self._session, self._targets, translations=translations, on_sent=on_caption_sent, interval=interval
        )
        self._transcript = TranscriptFeed(transcripts or NoTranscripts(), room_token, roster)
        self._publishers = Publishers(room_token, roster, self._targets, self._delivery, sharing, self._make_speaker)
        #: Since when the app is in the room, in event loop time; None while it is not.
        self.in_room_since: float | None = None
        self._interrupted_at: float | None = None
        # Since when the app has not been in the room, so that nothing was transcribed; and whether the call is over for all.
        self._absent_since: float | None = None
        self._over = False
        self._alarm = DeadlineTimer(self._reconcile)
        self._ended = asyncio.Event()
        self._last_words_s = LAST_WORDS_S
        self._running = False

    # Requests of the service. All take effect at once and never wait.

    def add_target(self, nc_session_id: str, user_id: str | None) -> None:
        """Send captions to this Talk session. `user_id` is None for guests."""
        self._targets.add(nc_session_id, user_id, self._now())
        self._reconcile()

    def remove_target(self, nc_session_id: str) -> None:
        """Send no more captions to this Talk session."""
        self._targets.remove(nc_session_id, self._now())
        self._reconcile()

    def translate(self, nc_session_id: str, language: str | None) -> bool:
        """Translate a target's captions into this language; None: send them as they are spoken.

        Returns False if the session is no target.
        """
        return self._delivery.translate(nc_session_id, language)

    def review_transcript(self) -> None:
        """A transcript of the room is kept from now on, or is not kept any more."""
        self._reconcile()

    def has_target(self, nc_session_id: str) -> bool:
        """Whether this Talk session has asked for captions."""
        return nc_session_id in self._targets

    def targets(self) -> Sequence[Target]:
        """All targets, to be stored."""
        return self._targets.export()

    def set_language(self, language: str) -> None:
        """Transcribe in this language from the next words on."""
        self.language = language
        for speaker in self._publishers.speakers.values():
            speaker.set_language(language)

    def take_over(self, other: Call) -> None:
        """Replace another call of the same room: take its targets, and the slots and subscriptions of its publishers."""
        self._publishers.take_over(other._publishers)
        self._absent_since = other._absent_since
        for target in other.targets():
            self.add_target(target.nc_session_id, target.user_id)
            self.translate(target.nc_session_id, target.translation)

    def end(self, *, within_s: float = LAST_WORDS_S + CLOSE_S) -> None:
        """End the call. `within_s` is how long this may take, most of it for the last words. Only the first call counts."""
        if not self._ended.is_set():
            self._last_words_s = max(0.0, within_s - CLOSE_S)
        self._ended.set()
        self._publishers.stop_asking()

    async def wait_for_end(self, seconds: float) -> None:
        """Wait so many seconds, or until `end` is called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    @property
    def last_error(self) -> SignalingError | None:
        """Why the app is not in the room, if known."""
        return self._session.last_error

    def path_failures(self) -> Mapping[str, NoMediaPath]:
        """Failures of the path to the SFU, by the publisher's session id."""
        speakers = self._publishers.speakers.items()
        return {session_id: failure for session_id, speaker in speakers if (failure := speaker.path_failure) is not None}

    @property
    def encrypted_count(self) -> int:
        """Number of publishers whose audio is end-to-end encrypted."""
        return sum(speaker.encrypted for speaker in self._publishers.speakers.values())

    @property
    def has_media_path(self) -> bool:
        """Whether the path to the SFU works for at least one publisher."""
        return any(speaker.connected for speaker in self._publishers.speakers.values())

    def turn_answers(self) -> Mapping[str, TurnAnswer]:
        """The last answer of each TURN server, by the server's address."""
        answers = [answer for speaker in self._publishers.speakers.values() for answer in speaker.turn_answers.items()]
        return dict(sorted(answers, key=lambda answer: answer[1].at))

    @property
    def ending(self) -> bool:
        """Whether `end` was called."""
        return self._ended.is_set()

    @property
    def speaker_count(self) -> int:
        """Number of publishers for which the SFU has sent an offer."""
        return self._publishers.connected

    @property
    def target_count(self) -> int:
        """Number of targets, including those that may be back in a moment."""
        return len(self._targets)

    # Lifetime.

    async def run(self) -> None:
        """Run the call to its end. Raises an ExceptionGroup of RoomRefused if the HPB refuses this room."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._running = True
                self._absent_since = self._absent_since or self._now()
                self._publishers.start(tasks)
                tasks.create_task(self._stay_connected(), name="signaling")
                helpers = (
                    tasks.create_task(self._prefetch(), name="STUN and TURN servers"),
                    tasks.create_task(self._warm(), name="warm speech-to-text"),
                    tasks.create_task(self._listen(), name="signaling events"),
                )
                self._reconcile()
                await self._ended.wait()
                await self._send_last_words()
                await self._session.close(GOODBYE_S)
                for task in helpers:
                    task.cancel()
        finally:
            self._running = False
            self.in_room_since = None
            self._absent_since = self._absent_since or self._now()
            # A call that failed will be started again.
            self._publishers.close(returning=not self._ended.is_set())
            self.joined.clear()
            self._delivery.close()
            self._alarm.cancel()
            if self._over:
                self._transcript.end()

    async def _stay_connected(self) -> None:
        """End the call as soon as the room is refused, before anything is closed, so that no request joins it any more."""
        try:
            await self._session.run()
        except SignalingError:
            self._over = True
            self.end()
            raise

    async def _prefetch(self) -> None:
        """Fetch the ICE servers before the first speaker needs them."""
        await self._ice_servers()

    async def _warm(self) -> None:
        """Load what the first speaker needs."""
        await asyncio.to_thread(preload_voice_activity)
        try:
            await self._backend.warm()
        except SttError as failure:
            logger.warning("Speech-to-text is not ready: %s", failure, extra={"room": self.room_token, "code": failure.code})
            self._on_stt_error(failure)

    async def _send_last_words(self) -> None:
        until = self._now() + self._last_words_s
        await self._publishers.end(self._last_words_s)
        # Translations take their time, and the last words of many to many are more than the outbox takes at once.
        while (self._delivery.blocked or self._delivery.translated.waiting) and self._now() < until:
            if self._now() >= until - GIVE_UP_S:
                self._delivery.translated.give_up()
            await asyncio.sleep(FLUSH_S)
            self._delivery.flush()
        self._delivery.translated.give_up()

    # Events of the signaling session.

    async def _listen(self) -> None:
        with suppress(events.SignalingEnded):
            while True:
                self._apply(await self._session.next_event())

    def _apply(self, event: events.SignalingEvent) -> None:
        match event:
            case events.OfferReceived(publisher=publisher, room_type=room_type, sid=sid, sdp=sdp):
                if room_type == ROOM_TYPE and (speaker := self._publishers.speakers.get(publisher)):
                    speaker.offer(sid, sdp)
                    self._publishers.answered(publisher)
            case events.CandidateReceived(publisher=publisher, room_type=room_type, sid=sid, candidate=candidate):
                if room_type == ROOM_TYPE and (speaker := self._publishers.speakers.get(publisher)):
                    speaker.candidate(sid, candidate, event.sdp_mid, event.sdp_m_line_index)
            case events.SubscribeFailed(publisher=publisher, reason=reason):
                if speaker := self._publishers.speakers.get(publisher):
                    speaker.refused(reason)
            case events.SessionStarted():
                self._start_session(event)
            case events.SessionInterrupted():
                self._targets.suspend()
                self.in_room_since = None
                self._interrupted_at = self._now()
                self._absent_since = self._absent_since or self._interrupted_at
                self._reconcile()
            case events.ParticipantsJoined() | events.ParticipantsUpdated() | events.ParticipantsLeft():
                self._targets.apply(event, self._now())
                self._reconcile()
            case events.CallEndedForAll():
                logger.info("The call was ended for all", extra={"room": self.room_token})
                self._over = True
                self.end()
            case events.RemovedFromRoom():
                logger.info("Removed from the room", extra={"room": self.room_token})
                self._over = True
                self.end()

    def _start_session(self, event: events.SessionStarted) -> None:
        if self.joined.is_set():
            metrics.signaling_reconnects.labels("resumed" if event.resumed else "new session").inc()
        self._targets.resume(self._now())
        self.in_room_since = self._now()
        self._interrupted_at = None
        absent_since, self._absent_since = self._absent_since, None
        if not event.resumed:
            self._note_absence(absent_since)
            self._publishers.reset()
            recipient_call = FEATURE_RECIPIENT_CALL in event.features
            self._targets.reset(self._now(), own_session_id=event.session_id, recipient_call=recipient_call)
        self.joined.set()
        self._reconcile()
        self._delivery.flush()

    def _note_absence(self, since: float | None) -> None:
        """A new session: nothing was transcribed since then. A resumed one has missed nothing."""
        now = self._now()
        if since is not None and now - since >= SHORTEST_GAP_S:
            to_unix_s = time.time() - now
            self._transcript.add_gap(Gap(GapReason.OUTAGE, since + to_unix_s, now + to_unix_s))

    def _end_utterance(self, utterance: Utterance) -> None:
        self._transcript.add_utterance(utterance)
        self._delivery.end_utterance(utterance)

    def _reconcile(self) -> None:
        """Make the speakers match the room, and the call end when nobody reads it and no transcript is kept."""
        if not self._running or self._ended.is_set():
            return
        now = self._now()
        kept = self._transcript.kept
        self._targets.keep(kept, now)
        # Nobody has read the call for a while, and if its transcript is kept, nobody has been in it.
        empty_since = self._targets.empty_since(now)
        if empty_since is not None and now >= empty_since + self.config.no_target_linger_s:
            logger.info("The call ends: it has had no reader for a while", extra={"room": self.room_token})
            self._over = kept
            self.end()
            return
        # Signaling has been interrupted for so long that the HPB has closed our subscriptions.
        cut_off_at = None if self._interrupted_at is None else self._interrupted_at + CUT_OFF_S
        if cut_off_at is not None and now >= cut_off_at:
            self._publishers.pause()
            cut_off_at = None
        else:
            self._publishers.review()
        linger_until = None if empty_since is None else empty_since + self.config.no_target_linger_s
        reload_until = self._targets.reload_until()
        if reload_until is not None and reload_until <= now:
            reload_until = None
        deadlines = (cut_off_at, self._targets.next_deadline(), linger_until, reload_until)
        self._alarm.set(min((deadline for deadline in deadlines if deadline is not None), default=None))

    def _make_speaker(
        self, session_id: str, claims: PublisherClaims, requests: OfferRequests, on_unavailable: Callable[[], None]
    ) -> Speaker:
        self._transcript.remember(session_id)
        return self._new_speaker(
            session_id,
            self.language,
            self.config,
            self._backend,
            channel=self._session.channel(session_id, ROOM_TYPE),
            ice_servers=self._ice_servers,
            on_caption=self._delivery.add,
            on_utterance=self._end_utterance,
            on_gap=self._transcript.add_gap,
            on_error=self._on_stt_error,
            masks=lambda: self._translations.masks,
            requests=requests,
            slot=claims,
            on_unavailable=on_unavailable,
        )

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The HPB's internal client without I/O: one room's session, from hello to bye, over as many websockets as it takes.

The shell reports what happens (`connected`, `receive_text`, `connection_lost`, `timer`, each with `now` in seconds of any
monotonic clock). After each call it takes the results: `next_frame()`, `take_events()`, `deadline`, `hello_wanted`,
`drop_reason`, `refusal`, `failure`. Protocol: standalone-signaling-api-v1 of nextcloud-spreed-signaling 1.2.4 to 2.1.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator

from live_transcription.config import HpbConfig
from live_transcription.errors import RoomRefused, SignalingRefused
from live_transcription.observability import metrics
from live_transcription.observability.log_limit import INTERVAL_S, LogLimit
from live_transcription.signaling import messages, requests
from live_transcription.signaling.events import (
    CandidateReceived,
    OfferReceived,
    ParticipantsLeft,
    RemovedFromRoom,
    SessionInterrupted,
    SessionStarted,
    SignalingEvent,
)
from live_transcription.signaling.hello_guard import hello_token
from live_transcription.signaling.outbox import Outbox, OutgoingFrame
from live_transcription.signaling.pending import PendingRequests
from live_transcription.signaling.refusals import FEATURE_SFU, hello_refusal, no_sfu
from live_transcription.signaling.room_events import room_event
from live_transcription.signaling.states import State, Timeouts
from live_transcription.signaling.urls import backend_base_url
from live_transcription.types import Caption

logger = logging.getLogger("live_transcription.signaling")

FEATURE_RECIPIENT_CALL = "recipient-call"
#: Offers accepted from one publisher: in a row, and per second. Each may cost a new peer, and a publisher can make the HPB send
#: any number of them.
OFFERS_AT_ONCE = 8.0
OFFERS_PER_S = 1.0


class OfferRate:
    """A token bucket for the offers of one publisher."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = OFFERS_AT_ONCE
        self._at = 0.0

    def expect_one(self) -> None:
        """An offer was requested: the next one is accepted, whatever came before."""
        self._left = max(1.0, self._left)

    def accepts(self, now: float) -> bool:
        self._left = min(OFFERS_AT_ONCE, self._left + OFFERS_PER_S * (now - self._at))
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class SignalingProtocol:
    """One room. Not thread-safe; never raises for anything that the server sends."""

    def __init__(
        self,
        config: HpbConfig,
        room_token: str,
        *,
        timeouts: Timeouts | None = None,
        random_hex: Callable[[], str] = lambda: secrets.token_hex(32),
        outbox_limit: int = 1024,
    ) -> None:
        self.state = State.DISCONNECTED
        #: When `timer` wants to be called, None for never.
        self.deadline: float | None = None
        #: The websocket is useless: close it, call `connection_lost` with this reason, and connect again.
        self.drop_reason: str | None = None
        #: Why this websocket is useless, if only an administrator can change that. A later one may succeed.
        self.refusal: SignalingRefused | None = None
        #: Why every websocket is useless: the HPB refuses the room.
        self.failure: RoomRefused | None = None
        self.session_id: str | None = None
        self.server_version = ""
        self.features: frozenset[str] = frozenset()
        #: This websocket carries a session: the hello or the resume was accepted.
        self.authenticated = False
        self.invalid_frames = 0
        #: The shell reports which frames were written, and which ones a pong has proved to be read.
        self.outbox = Outbox(outbox_limit)
        self._config = config
        self._backend_url = backend_base_url(config.backend_url)
        self._room_token = room_token
        self.timeouts = timeouts or Timeouts()
        self._random_hex = random_hex
        self._log_fields = {"room": room_token}
        self._events: list[SignalingEvent] = []
        self._pending = PendingRequests()
        # The last caption and its JSON, so that a caption to 500 readers is encoded once.
        self._transcript: tuple[Caption, str] | None = None
        #: By publisher, then by room type: the rate of offers requested in this session, until the publisher leaves the room.
        self._asked: dict[str, dict[str, OfferRate]] = {}
        self._now = 0.0
        self._rejections = LogLimit(INTERVAL_S, lambda: self._now)
        self._last_id = 0
        self._request_id = ""
        self._resume_id: str | None = None
        self._resume_until: float | None = None
        self._joined = False
        self._announced: str | None = None
        self._interrupted = True
        self._closing = False
        self._welcomed: frozenset[str] = frozenset()

    # Results.

    @property
    def in_room(self) -> bool:
        return self.state is State.IN_ROOM and not self._closing

    @property
    def hello_wanted(self) -> bool:
        """A full hello is next, and `permit_hello` has to be called for it, within the HPB's 2 s since the connect."""
        return self.state is State.AUTHORISING

    @property
    def can_resume(self) -> bool:
        return self._resume_id is not None

    @property
    def finished(self) -> bool:
        """After `close`: all is said, the websocket can be closed."""
        return self.state is State.CLOSED

    @property
    def dropped_frames(self) -> int:
        """Frames that were not sent because the outbox was full, or because they were too large for the HPB."""
        return self.outbox.dropped

    def take_events(self) -> list[SignalingEvent]:
        events, self._events = self._events, []
        return events

    def next_frame(self) -> OutgoingFrame | None:
        """The next frame to send; give it back with `unsent` if the websocket broke before it was."""
        frame = self.outbox.next(in_room=self.state is State.IN_ROOM)
        if frame is None and self._closing and self.state is not State.CLOSED:
            self._enter(State.CLOSED)
            if self.authenticated:
                return OutgoingFrame(requests.bye(self._new_id()), control=True)
        return frame

    def unsent(self, frame: OutgoingFrame) -> None:
        self.outbox.give_back(frame)

    # What happens to us.

    def connected(self, now: float) -> None:
        """A websocket is open. Nothing is said before `welcome`, which tells whether there is an SFU at all."""
        if self._over:
            return
        if self._resume_until is not None and now >= self._resume_until:
            self._forget_session()
        self.drop_reason = self.refusal = None
        self._welcomed = frozenset()
        self._enter(State.GREETING, now + self.timeouts.welcome_s)

    def permit_hello(self, now: float, *, patient: bool = False) -> None:
        """Send the full hello, as `HelloGuard` permits; only while `hello_wanted`. `patient`: the answer may take long."""
        if self.state is not State.AUTHORISING:
            return
        random = self._random_hex()
        token = hello_token(self._config.internal_secret, random)
        self._request_id = self._new_id()
        self.outbox.put_control(requests.hello(self._request_id, random=random, token=token, backend_url=self._backend_url))
        self._enter(State.HELLO, now + (self.timeouts.patient_hello_s if patient else self.timeouts.hello_s))

    def give_up_websocket(self, reason: str) -> None:
        """The shell has no use for this websocket: `drop_reason` follows."""
        if not self._over:
            self._drop(reason)

    def connection_lost(self, reason: str, now: float) -> None:
        """The websocket is gone. `reason` goes to the log and into `SessionInterrupted`: no credentials in it."""
        self.outbox.clear_control()
        self.outbox.take_back()
        self.deadline = None
        self.authenticated = False
        if self._over:
            return
        if self._closing:
            self._enter(State.CLOSED)
            return
        if self.state is State.REMOVED:
            self._fail(RoomRefused("The high-performance backend has removed this app from the room."))
            return
        if self._resume_id is not None and self._resume_until is None:
            self._resume_until = now + self.timeouts.resume_window_s
        self.state = State.DISCONNECTED
        if not self._interrupted:
            self._interrupted = True
            self._events.append(SessionInterrupted(reason))

    def timer(self, now: float) -> None:
        if self.deadline is None or now < self.deadline:
            return
        self.deadline = None
        match self.state:
            case State.GREETING:
                self._greet(now)
            case State.HELLO:
                self._drop("no answer to hello")
            case State.RESUMING:
                self._forget_session()
                self._drop("no answer to the resume of the session")
            case State.JOINING:
                self._drop("no answer to joining the room")

    def receive_text(self, text: str, now: float) -> None:
        self._receive(messages.parse_frame(text), now)

    def receive_large(self, text: str, now: float) -> Iterator[float]:
        """Like `receive_text`, in slices of about a millisecond. Yields each slice's share of the frame.

        Take the events and let other tasks run in between, since all calls share one event loop.
        """
        for frame, share in messages.parse_slices(text):
            self._receive(frame, now)
            yield share

    def receive_invalid(self, reason: str) -> None:
        """A frame that is no text, or no frame. Counted; the first few are logged."""
        self.invalid_frames += 1
        level = logging.WARNING if self.invalid_frames <= 5 else logging.DEBUG
        logger.log(level, "Invalid frame from the signaling server: %s", reason, extra=self._log_fields)

    def close(self) -> None:
        """Send bye after everything that waits; `finished` follows. No more events, no more sends."""
        self._closing = True
        self._events.clear()
        if not self.authenticated and not self._over:
            self.outbox.clear()
            self._enter(State.CLOSED)

    # Messages of the call. They return False if the frame was refused.

    def request_offer(self, publisher: str, room_type: str) -> bool:
        request_id = self._new_id()
        frame = requests.request_offer(request_id, publisher, room_type)
        # After an outage one request is enough: each further one would replace the subscriber of the previous one.
        taken = self._send_to(publisher, room_type, request_id, frame, subject=f"offer of {publisher}/{room_type}")
        if taken:
            self._asked.setdefault(publisher, {}).setdefault(room_type, OfferRate()).expect_one()
        return taken

    def send_answer(self, publisher: str, room_type: str, sid: str, sdp: str) -> bool:
        request_id = self._new_id()
        return self._send_to(publisher, room_type, request_id, requests.answer(request_id, publisher, room_type, sid, sdp))

    def send_candidate(
        self, publisher: str, room_type: str, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None
    ) -> bool:
        frame = requests.candidate(self._new_id(), publisher, room_type, sid, candidate, sdp_mid, sdp_m_line_index)
        return self._has_session and self.outbox.put(frame)

    def send_caption(self, recipient: requests.Recipient, caption: Caption) -> bool:
        """False while we are not in the room, or cannot reach this recipient: the caller keeps the caption."""
        if not self.in_room or (recipient.session_id is None and FEATURE_RECIPIENT_CALL not in self.features):
            return False
        if self._transcript is None or self._transcript[0] is not caption:
            self._transcript = caption, requests.transcript_data(caption)
        text = requests.transcript(recipient, self._transcript[1])
        return self.outbox.put(text, outlives_session=True)

    # Inside.

    @property
    def _over(self) -> bool:
        return self.state in (State.FAILED, State.CLOSED)

    @property
    def _has_session(self) -> bool:
        """True also while the session is interrupted: frames are then sent after the resume."""
        return self._joined and not self._closing and not self._over and self.state is not State.REMOVED

    def _new_id(self) -> str:
        self._last_id += 1
        return str(self._last_id)

    def _enter(self, state: State, deadline: float | None = None) -> None:
        self.state = state
        self.deadline = deadline

    def _drop(self, reason: str) -> None:
        self.drop_reason = reason
        self._enter(State.DROPPED)

    def _fail(self, error: RoomRefused) -> None:
        if self.authenticated:
            self.outbox.put_control(requests.bye(self._new_id()))
        self.failure = error
        self._enter(State.FAILED)

    def _refuse(self, refusal: SignalingRefused) -> None:
        if self.authenticated:
            self.outbox.put_control(requests.bye(self._new_id()))
            self._forget_session()
        self.refusal = refusal
        self._drop("the high-performance backend refuses the app")

    def _forget_session(self) -> None:
        """Void everything of the old session except captions, whose recipients may still be there."""
        self._resume_id = None
        self._resume_until = None
        self._joined = False
        self.session_id = None
        self._pending.clear()
        self._asked.clear()
        self.outbox.forget_session()

    def _receive(self, frame: messages.Frame, now: float) -> None:
        if self.state in (State.DISCONNECTED, State.DROPPED) or self._over:
            return
        self._now = now
        match frame:
            case messages.Welcome():
                self.server_version = frame.version
                self.features = self._welcomed = frame.features
                if self.state is State.GREETING:
                    self._greet(now)
            case messages.Hello():
                self._receive_hello(frame, now)
            case messages.ErrorFrame():
                self._receive_error(frame)
            case messages.Bye(reason=reason):
                if self.state is State.RESUMING:
                    self._forget_session()
                self._drop(f"the server said bye ({reason})")
            case messages.Room():
                self._receive_room(frame)
            case messages.Ignored(kind=kind):
                logger.debug("Ignored frame: %s", kind, extra=self._log_fields)
            case messages.Forged(kind=kind):
                self._reject(kind, "forged")
            case messages.Invalid(reason=reason):
                self.receive_invalid(reason)
            case _ if self.state is State.IN_ROOM:
                self._receive_in_room(frame)

    def _greet(self, now: float) -> None:
        if self._welcomed and FEATURE_SFU not in self._welcomed:
            # A server that was just started may still wait for its SFU.
            self._refuse(no_sfu())
        elif self._resume_id is not None:
            self._request_id = self._new_id()
            self.outbox.put_control(requests.hello_resume(self._request_id, self._resume_id))
            self._enter(State.RESUMING, now + self.timeouts.resume_s)
        else:
            self._enter(State.AUTHORISING)

    def _receive_hello(self, frame: messages.Hello, now: float) -> None:
        if self.state not in (State.HELLO, State.RESUMING) or frame.id not in (None, self._request_id):
            return
        if not frame.session_id:
            self._drop("the answer to hello names no session")
            return
        if frame.session_id != self.session_id:
            self._forget_session()
        self.authenticated = True
        self.session_id = frame.session_id
        self._resume_id = frame.resume_id or self._resume_id
        self._resume_until = None
        self.server_version = frame.version or self.server_version
        if frame.features is not None:
            self.features = frame.features | self._welcomed
        if FEATURE_SFU not in self.features:
            self._refuse(no_sfu())
        elif self._joined:
            self._start()
        else:
            self._request_id = self._new_id()
            self.outbox.put_control(requests.join_room(self._request_id, self._room_token))
            self._enter(State.JOINING, now + self.timeouts.join_s)

    def _start(self) -> None:
        assert self.session_id is not None
        self._enter(State.IN_ROOM)
        self._joined = True
        self._interrupted = False
        resumed = self._announced == self.session_id
        self._announced = self.session_id
        self._events.append(SessionStarted(self.session_id, resumed, self.server_version, self.features))

    def _receive_room(self, frame: messages.Room) -> None:
        if self.state is State.JOINING and frame.room_id == self._room_token:
            self._start()
        elif self.state is State.JOINING and frame.room_id == "":
            self._fail(RoomRefused("The high-performance backend did not let this app into the room."))
        elif self.state is State.IN_ROOM and frame.room_id != self._room_token:
            self._remove(RemovedFromRoom(switch_to=frame.room_id or None))

    def _remove(self, event: RemovedFromRoom) -> None:
        self._enter(State.REMOVED)
        self._joined = False
        self._events.append(event)

    def _receive_error(self, frame: messages.ErrorFrame) -> None:
        ours = frame.id == self._request_id
        if self.state is State.RESUMING and (ours or frame.id is None):
            # `no_such_session`, or the lockout of resumes that follows a restart with other session keys.
            logger.info("The session cannot be resumed: %s", frame.code, extra=self._log_fields)
            self._forget_session()
            self._enter(State.AUTHORISING)
        elif self.state is State.HELLO and (ours or frame.id is None):
            refusal = hello_refusal(frame.code, self._backend_url)
            if refusal is not None:
                self._refuse(refusal)
            else:
                self._drop(f"the server refused the hello for now ({frame.code})")
        elif self.state is State.JOINING and ours:
            if frame.code == "already_joined":
                self._start()
            elif frame.code == "no_such_room":
                self._fail(RoomRefused(f"The high-performance backend did not let this app into the room ({frame.code})."))
            else:
                self._drop(f"the server refused the room for now ({frame.code})")
        elif (failed := self._pending.fail(frame.id, frame.code)) is not None:
            self._events.append(failed)
        else:
            logger.warning("The signaling server reports an error: %s", frame.code, extra=self._log_fields)

    def _receive_in_room(self, frame: messages.Frame) -> None:
        event = room_event(frame, self._room_token)
        if isinstance(event, OfferReceived | CandidateReceived):
            kind = "offer" if isinstance(event, OfferReceived) else "candidate"
            rate = self._asked.get(event.publisher, {}).get(event.room_type)
            if rate is None:
                # With `sendoffer` a participant can make the HPB send an offer that was not requested.
                self._reject(kind, "not asked for")
                return
            if isinstance(event, OfferReceived) and not rate.accepts(self._now):
                self._reject(kind, "too many")
                return
        if isinstance(event, OfferReceived):
            self._pending.settle(event.publisher, event.room_type)
        if isinstance(event, ParticipantsLeft):
            for session_id in event.session_ids:
                self._asked.pop(session_id, None)
        if isinstance(event, RemovedFromRoom) and event.switch_to is None:
            self._remove(event)
        elif event is not None:
            self._events.append(event)

    def _reject(self, kind: str, reason: str) -> None:
        """Drop an offer or candidate that is not the SFU's answer to us. A participant can send any number of them."""
        metrics.media_messages_rejected.labels(kind, reason).inc()
        if (left_out := self._rejections.permit(reason)) is not None:
            # Offers of a publisher that has just left are not requested any more, either, so they are no attack.
            level = logging.WARNING if reason == "forged" else logging.INFO
            fields = {**self._log_fields, "reason": reason}
            logger.log(level, "Rejected %d offers or candidates of participants (%s)", left_out + 1, reason, extra=fields)

    def _send_to(self, publisher: str, room_type: str, request_id: str, frame: str, *, subject: str = "") -> bool:
        if not self._has_session or not self.outbox.put(frame, subject=subject):
            return False
        self._pending.add(request_id, publisher, room_type)
        return True

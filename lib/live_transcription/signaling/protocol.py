# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The HPB's internal client without I/O: one room's session, from hello to bye, over as many websockets as it takes.

The caller reports what happens (`connected`, `receive_text`, `connection_lost`, `timer`; `now` is seconds of any monotonic
clock). After each report it takes the results: `next_frame()`, `take_events()`, `deadline`, `hello_wanted`, `drop_reason`,
`refusal`, `failure`. Source: standalone-signaling-api-v1 of nextcloud-spreed-signaling 1.2.4 to 2.1.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from live_transcription.config import HpbConfig
from live_transcription.errors import RoomRefused, SignalingRefused
from live_transcription.observability import metrics
from live_transcription.observability.log_limit import INTERVAL_S, LogLimit
from live_transcription.signaling import events, frames, messages, requests
from live_transcription.signaling.diagnosis import FEATURE_SFU, hello_refusal, no_sfu
from live_transcription.signaling.offer_filter import OfferFilter
from live_transcription.signaling.outbox import Outbox, OutgoingFrame
from live_transcription.signaling.urls import backend_base_url
from live_transcription.types import Caption

logger = logging.getLogger("live_transcription.signaling")

FEATURE_RECIPIENT_CALL = "recipient-call"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the HPB may take, in seconds. An attempt that times out once takes less than 6 s.

    `ping_interval_s` is the time between two pings; the HPB drops a websocket that is silent for 60 s.
    `patient_hello_s` applies to a credential that may be wrong, since the HPB deliberately delays a refusal by up to 25 s.
    `resume_window_s` is the time for which a resume is worth trying. The HPB keeps a session for 30 s after it has noticed that
    the websocket broke.
    """

    welcome_s: float = 1.0
    hello_s: float = 3.5
    patient_hello_s: float = 30.0
    resume_s: float = 3.5
    join_s: float = 3.5
    resume_window_s: float = 90.0
    ping_interval_s: float = 15.0
    pong_s: float = 10.0


class State(Enum):
    """`GREETING` waits for `welcome`, `AUTHORISING` for `permit_hello`, `DROPPED` for `connection_lost`."""

    DISCONNECTED = "disconnected"
    GREETING = "greeting"
    AUTHORISING = "authorising"
    HELLO = "hello"
    RESUMING = "resuming"
    JOINING = "joining"
    IN_ROOM = "in room"
    REMOVED = "removed"
    DROPPED = "dropped"
    FAILED = "failed"
    CLOSED = "closed"


class SignalingProtocol:
    """The session of one room. Not thread-safe. Never raises for anything that the server sends.

    Attributes that the caller reads after each report:

    - `deadline`: when to call `timer`; None for never.
    - `drop_reason`: if not None, close the websocket, call `connection_lost` with this reason, and connect again.
    - `refusal`: why this websocket is useless, if only an administrator can change that. Another attempt may succeed later.
    - `failure`: why every websocket is useless: the HPB refuses the room.
    - `authenticated`: whether this websocket carries a session.
    - `session_id`: our session, also while it is interrupted; None before the first hello and between sessions.
    - `server_version`, `features`: the HPB's own statement.
    - `outbox`: the caller acknowledges frames there when a pong arrives.
    """

    def __init__(
        self,
        config: HpbConfig,
        room_token: str,
        *,
        timeouts: Timeouts | None = None,
        random_hex: Callable[[], str] = lambda: secrets.token_hex(32),
        outbox_limit: int = 1024,
    ) -> None:
        """Raises ConfigurationError for a malformed address of Nextcloud."""
        self.state = State.DISCONNECTED
        self.deadline: float | None = None
        self.drop_reason: str | None = None
        self.refusal: SignalingRefused | None = None
        self.failure: RoomRefused | None = None
        self.session_id: str | None = None
        self.server_version = ""
        self.features: frozenset[str] = frozenset()
        self.authenticated = False
        self.timeouts = timeouts or Timeouts()
        self.outbox = Outbox(outbox_limit)
        self._config = config
        self._backend_url = backend_base_url(config.backend_url)
        self._room_token = room_token
        self._random_hex = random_hex
        self._log_fields = {"room": room_token}
        self._events: list[events.SignalingEvent] = []
        self._offers = OfferFilter()
        self._now = 0.0
        self._log_limit = LogLimit(INTERVAL_S, lambda: self._now)
        # The last caption and its JSON, so that a caption to 500 readers is encoded once.
        self._transcript: tuple[Caption, str] | None = None
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
        """Whether captions can be sent now."""
        return self.state is State.IN_ROOM and not self._closing

    @property
    def hello_wanted(self) -> bool:
        """Whether a full hello is next. Call `permit_hello` within the 2 s that the HPB waits after the connect."""
        return self.state is State.AUTHORISING

    @property
    def can_resume(self) -> bool:
        """Whether the next websocket may resume a session, for which no full hello is needed."""
        return self._resume_id is not None

    @property
    def finished(self) -> bool:
        """Whether everything is sent after `close`, so that the websocket can be closed."""
        return self.state is State.CLOSED

    def take_events(self) -> list[events.SignalingEvent]:
        """The events since the last call, in order."""
        taken, self._events = self._events, []
        return taken

    def next_frame(self) -> OutgoingFrame | None:
        """The next frame to write to the websocket, if there is one."""
        frame = self.outbox.next(in_room=self.state is State.IN_ROOM)
        if frame is None and self._closing and self.state is not State.CLOSED:
            self._enter(State.CLOSED)
            if self.authenticated:
                return OutgoingFrame(requests.bye(self.new_id()))
        return frame

    # Reports of the caller.

    def connected(self, now: float) -> None:
        """A websocket is open."""
        if self._over:
            return
        if self._resume_until is not None and now >= self._resume_until:
            self._forget_session()
        self.drop_reason = self.refusal = None
        self._welcomed = frozenset()
        # Nothing is sent before `welcome`, which tells whether there is an SFU at all.
        self._enter(State.GREETING, now + self.timeouts.welcome_s)

    def permit_hello(self, now: float, *, patient: bool = False) -> None:
        """Send the full hello. Does nothing unless `hello_wanted`. `patient` allows the answer to take `patient_hello_s`."""
        if self.state is not State.AUTHORISING:
            return
        frame = requests.hello(self.new_id(), self._random_hex(), self._config.internal_secret, self._backend_url)
        self._request(frame, State.HELLO, now + (self.timeouts.patient_hello_s if patient else self.timeouts.hello_s))

    def drop(self, reason: str) -> None:
        """Give this websocket up, for a reason that goes to the log: `drop_reason` is set."""
        if not self._over:
            self.drop_reason = reason
            self._enter(State.DROPPED)

    def connection_lost(self, reason: str, now: float) -> None:
        """The websocket is gone. `reason` goes to the log and into `SessionInterrupted`, so it must hold no credentials."""
        # Frames in flight may be lost. They are sent again after the resume; captions also in a new session.
        self.outbox.requeue()
        self.deadline = None
        self.authenticated = False
        if self._over:
            return
        if self._closing:
            self._enter(State.CLOSED)
            return
        # The HPB has removed the app and then closed the websocket: a resume would lead nowhere.
        if self.state is State.REMOVED:
            self._fail(RoomRefused("The high-performance backend has removed this app from the room."))
            return
        # The window begins with the first loss: failed attempts to resume do not extend the life of the HPB's session.
        if self._resume_id is not None and self._resume_until is None:
            self._resume_until = now + self.timeouts.resume_window_s
        self.state = State.DISCONNECTED
        if not self._interrupted:
            self._interrupted = True
            self._events.append(events.SessionInterrupted(reason))

    def timer(self, now: float) -> None:
        """Call this at `deadline`; earlier calls do nothing."""
        if self.deadline is None or now < self.deadline:
            return
        self.deadline = None
        match self.state:
            case State.GREETING:
                # Some versions send no `welcome`; their answer to the hello tells the features.
                self._greet(now)
            case State.HELLO:
                self.drop("no answer to hello")
            case State.RESUMING:
                self._forget_session()
                self.drop("no answer to the resume of the session")
            case State.JOINING:
                self.drop("no answer to joining the room")

    def receive_text(self, text: str, now: float) -> None:
        """A text frame has arrived."""
        self._receive(messages.parse_frame(text, self._room_token), now)

    def receive_large(self, text: str, now: float) -> Iterator[float]:
        """Like `receive_text`, in slices of about a millisecond. Yields each slice's share of the frame.

        Take the events and let other tasks run between the slices, since all calls share one event loop.
        """
        for frame, share in messages.parse_slices(text, self._room_token):
            self._receive(frame, now)
            yield share

    def close(self) -> None:
        """Send what is queued, then bye; `finished` follows. No more events, and no more frames of the call."""
        self._closing = True
        self._events.clear()
        if not self.authenticated and not self._over:
            self.outbox.clear()
            self._enter(State.CLOSED)

    # Messages of the call.

    def channel(self, publisher: str, room_type: str = "video") -> PublisherChannel:
        """A channel for messages about one publisher."""
        return PublisherChannel(self, publisher, room_type)

    def send_to_publisher(
        self, publisher: str, room_type: str, frame: str, *, requests_offer: bool = False, tracked: bool = True
    ) -> bool:
        """Queue a frame with the latest id; for `PublisherChannel`. If it is `tracked`, the HPB may answer with an error."""
        # After an outage one request is enough: each further one would replace the subscriber of the previous one.
        subject = f"offer of {publisher}/{room_type}" if requests_offer else ""
        if not self._has_session or not self.outbox.put(frame, subject=subject):
            return False
        if tracked:
            self._offers.sent(str(self._last_id), publisher, room_type, expects_offer=requests_offer)
        return True

    def send_caption(self, recipient: requests.Recipient, caption: Caption) -> bool:
        """Send a caption. The caller keeps it if the result is False.

        A caption is refused while the app is not in the room, while the outbox is full, and if it is for the whole call but the
        HPB lacks `recipient-call`.
        """
        if not self.in_room or (recipient.session_id is None and FEATURE_RECIPIENT_CALL not in self.features):
            return False
        if self._transcript is None or self._transcript[0] is not caption:
            self._transcript = caption, requests.transcript_data(caption)
        text = requests.transcript(recipient, self._transcript[1])
        return self.outbox.put(text, outlives_session=True)

    # State changes.

    @property
    def _over(self) -> bool:
        return self.state in (State.FAILED, State.CLOSED)

    @property
    def _has_session(self) -> bool:
        """True also while the session is interrupted: frames are then sent after the resume."""
        return self._joined and not self._closing and not self._over and self.state is not State.REMOVED

    def new_id(self) -> str:
        """The id of the next request, which the HPB repeats in its answer."""
        self._last_id += 1
        return str(self._last_id)

    def _enter(self, state: State, deadline: float | None = None) -> None:
        self.state = state
        self.deadline = deadline

    def _request(self, frame: str, state: State, deadline: float) -> None:
        """Send a frame that has the latest id, and wait for its answer until `deadline`."""
        self._request_id = str(self._last_id)
        self.outbox.put_control(frame)
        self._enter(state, deadline)

    def _fail(self, error: RoomRefused) -> None:
        if self.authenticated:
            self.outbox.put_control(requests.bye(self.new_id()))
        self.failure = error
        self._enter(State.FAILED)

    def _refuse(self, refusal: SignalingRefused) -> None:
        if self.authenticated:
            self.outbox.put_control(requests.bye(self.new_id()))
            self._forget_session()
        self.refusal = refusal
        self.drop("the high-performance backend refuses the app")

    def _remove(self, event: events.RemovedFromRoom) -> None:
        self._enter(State.REMOVED)
        self._joined = False
        self._events.append(event)

    def _forget_session(self) -> None:
        """Void everything of the old session except captions, whose recipients may still be there."""
        self._resume_id = None
        self._resume_until = None
        self._joined = False
        self.session_id = None
        self._offers.clear()
        self.outbox.forget_session()

    # Frames of the HPB.

    def _receive(self, frame: frames.Frame, now: float) -> None:
        if self.state in (State.DISCONNECTED, State.DROPPED) or self._over:
            return
        self._now = now
        match frame:
            case frames.Welcome():
                self.server_version = frame.version
                self.features = self._welcomed = frame.features
                if self.state is State.GREETING:
                    self._greet(now)
            case frames.Hello():
                self._receive_hello(frame, now)
            case frames.ErrorFrame():
                self._receive_error(frame)
            case frames.Bye(reason=reason):
                if self.state is State.RESUMING:
                    self._forget_session()
                self.drop(f"the server said bye ({reason})")
            case frames.Room():
                self._receive_room(frame)
            case frames.IgnoredFrame(kind=kind):
                logger.debug("Ignored frame: %s", kind, extra=self._log_fields)
            case frames.ForgedFrame(kind=kind):
                self._reject(kind, "forged")
            case frames.InvalidFrame(reason=reason):
                if (left_out := self._log_limit.permit("invalid")) is not None:
                    message = "%d invalid frames from the signaling server, the last one: %s"
                    logger.warning(message, left_out + 1, reason, extra=self._log_fields)
            case _ if self.state is State.IN_ROOM:
                self._receive_event(frame)

    def _greet(self, now: float) -> None:
        """Begin or resume the session."""
        if self._welcomed and FEATURE_SFU not in self._welcomed:
            # A server that was just started may still wait for its SFU, so this counts neither as a hello nor as its refusal.
            self._refuse(no_sfu())
        elif self._resume_id is not None:
            frame = requests.hello_resume(self.new_id(), self._resume_id)
            self._request(frame, State.RESUMING, now + self.timeouts.resume_s)
        else:
            self._enter(State.AUTHORISING)

    def _receive_hello(self, frame: frames.Hello, now: float) -> None:
        if self.state not in (State.HELLO, State.RESUMING) or frame.id not in (None, self._request_id):
            return
        if not frame.session_id:
            self.drop("the answer to hello names no session")
            return
        # Another session than the one to resume: what belonged to the old one is void.
        if frame.session_id != self.session_id:
            self._forget_session()
        self.authenticated = True
        self.session_id = frame.session_id
        self._resume_id = frame.resume_id or self._resume_id
        self._resume_until = None
        # The answer to a hello may omit features that `welcome` has.
        self.server_version = frame.version or self.server_version
        if frame.features is not None:
            self.features = frame.features | self._welcomed
        if FEATURE_SFU not in self.features:
            self._refuse(no_sfu())
        # A resumed session is still in its room.
        elif self._joined:
            self._start()
        else:
            self._request(requests.join_room(self.new_id(), self._room_token), State.JOINING, now + self.timeouts.join_s)

    def _start(self) -> None:
        """The app is in the room."""
        assert self.session_id is not None
        self._enter(State.IN_ROOM)
        self._joined = True
        self._interrupted = False
        resumed = self._announced == self.session_id
        self._announced = self.session_id
        self._events.append(events.SessionStarted(self.session_id, resumed, self.server_version, self.features))

    def _receive_room(self, frame: frames.Room) -> None:
        if self.state is State.JOINING and frame.room_id == self._room_token:
            self._start()
        elif self.state is State.JOINING and frame.room_id == "":
            self._fail(RoomRefused("The high-performance backend did not let this app into the room."))
        elif self.state is State.IN_ROOM and frame.room_id != self._room_token:
            self._remove(events.RemovedFromRoom(switch_to=frame.room_id or None))

    def _receive_error(self, frame: frames.ErrorFrame) -> None:
        ours = frame.id == self._request_id
        if self.state is State.RESUMING and (ours or frame.id is None):
            # `no_such_session`, or the lockout of resumes that follows a restart with other session keys. Neither says anything
            # about the credential, so a full hello follows on the same websocket.
            logger.info("The session cannot be resumed: %s", frame.code, extra=self._log_fields)
            self._forget_session()
            self._enter(State.AUTHORISING)
        elif self.state is State.HELLO and (ours or frame.id is None):
            refusal = hello_refusal(frame.code, self._backend_url)
            if refusal is not None:
                self._refuse(refusal)
            else:
                self.drop(f"the server refused the hello for now ({frame.code})")
        elif self.state is State.JOINING and ours:
            # `already_joined` follows a websocket that broke between the join and its answer.
            if frame.code == "already_joined":
                self._start()
            elif frame.code == "no_such_room":
                self._fail(
                    RoomRefused("The high-performance backend did not let this app into the room ({code}).", code=frame.code)
                )
            else:
                self.drop(f"the server refused the room for now ({frame.code})")
        # An error about one publisher concerns that publisher only; all others concern nobody.
        elif (failed := self._offers.failure(frame.id, frame.code)) is not None:
            self._events.append(failed)
        else:
            logger.warning("The signaling server reports an error: %s", frame.code, extra=self._log_fields)

    def _receive_event(self, event: events.RoomEvent) -> None:
        if isinstance(event, events.OfferReceived | events.CandidateReceived):
            rejection = self._offers.rejection(event, self._last_id, self._now)
            if rejection is not None:
                self._reject("offer" if isinstance(event, events.OfferReceived) else "candidate", rejection)
                return
        elif isinstance(event, events.ParticipantsLeft):
            self._offers.left(event.session_ids)
        if isinstance(event, events.RemovedFromRoom) and event.switch_to is None:
            self._remove(event)
        else:
            self._events.append(event)

    def _reject(self, kind: str, reason: str) -> None:
        """Count an offer or candidate that is not the SFU's answer to us. A participant can send any number of them."""
        metrics.media_messages_rejected.labels(kind, reason).inc()
        if (left_out := self._log_limit.permit(reason)) is not None:
            # Offers of a publisher that has just left are rejected, too, and are no attack.
            level = logging.WARNING if reason == "forged" else logging.INFO
            fields = {**self._log_fields, "reason": reason}
            logger.log(level, "Rejected %d offers or candidates of participants (%s)", left_out + 1, reason, extra=fields)


class PublisherChannel:
    """Sends messages about one publisher's stream (`webrtc.subscriber.SubscriberChannel`).

    They are queued and never wait. While the websocket is broken they wait for the resume of the session, and are void if it
    cannot be resumed. The results tell whether the frame was queued.
    """

    def __init__(self, protocol: SignalingProtocol, publisher: str, room_type: str) -> None:
        self._protocol = protocol
        self._to = (publisher, room_type)

    def request_offer(self) -> bool:
        """Request an offer for the publisher's stream."""
        frame = requests.request_offer(self._protocol.new_id(), *self._to)
        return self._protocol.send_to_publisher(*self._to, frame, requests_offer=True)

    def send_answer(self, sid: str, sdp: str) -> bool:
        """Answer the offer with this `sid`."""
        return self._protocol.send_to_publisher(*self._to, requests.answer(self._protocol.new_id(), *self._to, sid, sdp))

    def send_candidate(self, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None) -> bool:
        """Send an ICE candidate, an SDP line without `a=`; an empty one means that there are no more."""
        frame = requests.candidate(self._protocol.new_id(), *self._to, sid, candidate, sdp_mid, sdp_m_line_index)
        return self._protocol.send_to_publisher(*self._to, frame, tracked=False)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The asyncio shell of `protocol`: one room's websocket to the HPB, opened again and again until it is closed."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from contextlib import suppress
from functools import partial

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from live_transcription.backoff import Backoff
from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingError, SignalingRefused, SignalingUnreachable
from live_transcription.signaling.auth import HelloAttempt, HelloGuard, Wait
from live_transcription.signaling.event_queue import EventQueue
from live_transcription.signaling.events import SignalingEvent
from live_transcription.signaling.protocol import SignalingProtocol
from live_transcription.signaling.reachability import closing_reason, unreachable
from live_transcription.signaling.requests import Recipient
from live_transcription.signaling.states import Timeouts
from live_transcription.signaling.urls import host_of, is_loopback, websocket_url
from live_transcription.types import Caption

logger = logging.getLogger("live_transcription.signaling")
#: The library's own log would hold every frame at level DEBUG.
_library_logger = logging.getLogger("live_transcription.signaling.websocket")
_library_logger.setLevel(logging.WARNING)

#: Largest frame taken from the HPB; a `participants/update` of a room with thousands of people stays below it.
MAX_FRAME_BYTES = 4 * 1024 * 1024
#: Events that wait for the call; beyond it the websocket is not read.
EVENT_LIMIT = 1024
OPEN_TIMEOUT_S = 10.0
#: The HPB drops a websocket that is silent for 60 s.
PING_INTERVAL_S = 15.0
PING_TIMEOUT_S = 10.0
#: Time in the room after which a connection counts as sound, and the next retry comes at once.
SOUND_AFTER_S = 10.0
#: How long an open websocket waits for leave to say hello; the HPB waits 2 s for a hello.
HELLO_LEAVE_S = 0.8


class SignalingConnection:
    """One room. `run()` keeps us in it, `next_event()` tells what happens there; the sends queue and never wait.

    Sends while the websocket is broken wait for the resume of the session, and are void if it cannot be resumed.
    """

    def __init__(
        self,
        config: HpbConfig,
        room_token: str,
        *,
        guard: HelloGuard,
        timeouts: Timeouts | None = None,
        backoff: Backoff | None = None,
        ping_interval_s: float = PING_INTERVAL_S,
        ping_timeout_s: float = PING_TIMEOUT_S,
        event_limit: int = EVENT_LIMIT,
    ) -> None:
        """Raises `ConfigurationError` for a malformed URL in `config`."""
        self._config = config
        self._url = websocket_url(config.url)
        self._host = host_of(self._url)
        self._guard = guard
        self._backoff = backoff or Backoff(random.random)
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._log_fields = {"room": room_token, "host": self._host}
        self._protocol = SignalingProtocol(config, room_token, timeouts=timeouts)
        self._events = EventQueue(event_limit)
        self._to_send = asyncio.Event()
        self._guard_changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._life: asyncio.Timeout | None = None
        self._ssl: ssl.SSLContext | None = None
        self._attempt: HelloAttempt | None = None
        self._waits_for_leave = False
        self._had_session = False
        self._in_room_since: float | None = None
        self._closing = False
        self._cut = False
        self._last_error: SignalingError | None = None

    @property
    def session_id(self) -> str | None:
        """Our public session id, also while it is interrupted; None before the first hello and between sessions."""
        return self._protocol.session_id

    @property
    def in_room(self) -> bool:
        """Captions can be sent now."""
        return self._protocol.in_room

    @property
    def features(self) -> frozenset[str]:
        return self._protocol.features

    @property
    def server_version(self) -> str:
        return self._protocol.server_version

    @property
    def last_error(self) -> SignalingError | None:
        """Why we are not in the room, as far as known; None while we are."""
        return self._last_error

    @property
    def queued_events(self) -> int:
        return len(self._events)

    @property
    def dropped_frames(self) -> int:
        """Frames to the HPB that were given up: the queue of 1024 was full, or the frame too large."""
        return self._protocol.dropped_frames

    @property
    def repeated_captions(self) -> int:
        """Captions that were sent again after a break because nothing proved that the HPB had read them."""
        return self._protocol.outbox.repeated

    @property
    def unproved(self) -> int:
        """Frames that were written to the websocket, and are sent again if it breaks before the HPB has read them."""
        return self._protocol.outbox.unproved_count

    async def run(self) -> None:
        """Connect, join, resume and reconnect until `close()`. For one task, once.

        Raises `SignalingRefused` or `RoomRefused` when trying again is of no use. Cancelling it cuts the websocket without
        a bye, so that the HPB keeps the session for 30 s.
        """
        if self._life is not None:
            raise RuntimeError("SignalingConnection.run() was called twice")
        self._life = asyncio.timeout(None)
        self._guard.add_listener(self._guard_changed.set)
        try:
            if not self._closing:
                async with self._life:
                    await self._stay_connected()
        except TimeoutError:
            if not self._cut:
                raise
        finally:
            self._guard.remove_listener(self._guard_changed.set)
            self._give_up_attempt()
            self._ended.set()
            await self._events.close()

    async def next_event(self) -> SignalingEvent:
        """The next event, in order. Raises `EndOfStream` when `run()` has ended or `close()` was called."""
        return await self._events.get()

    def request_offer(self, publisher: str, room_type: str = "video") -> None:
        self._protocol.request_offer(publisher, room_type)
        self._to_send.set()

    def send_answer(self, publisher: str, room_type: str, sid: str, sdp: str) -> None:
        self._protocol.send_answer(publisher, room_type, sid, sdp)
        self._to_send.set()

    def send_candidate(
        self, publisher: str, room_type: str, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None
    ) -> None:
        self._protocol.send_candidate(publisher, room_type, sid, candidate, sdp_mid, sdp_m_line_index)
        self._to_send.set()

    def send_caption(self, recipient: Recipient, caption: Caption) -> bool:
        """False: the caller keeps it. We are not in the room, the queue is full, or the HPB lacks `recipient-call`."""
        taken = self._protocol.send_caption(recipient, caption)
        self._to_send.set()
        return taken

    async def close(self, timeout_s: float = 1.0) -> None:
        """Send what is queued, say bye, and end `run()`; cut after `timeout_s`. Idempotent; safe at any time."""
        if not self._closing:
            self._closing = True
            self._protocol.close()
            self._to_send.set()
            await self._events.close()
        if self._life is None or self._ended.is_set():
            return
        if not self._protocol.finished or self._protocol.authenticated:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._ended.wait()
        if not self._ended.is_set():
            if not self._cut:
                self._cut = True
                self._life.reschedule(asyncio.get_running_loop().time())
            await self._ended.wait()

    # The life of the room: one websocket after another.

    async def _stay_connected(self) -> None:
        while not self._closing:
            try:
                await self._use_one_websocket()
            except SignalingUnreachable as error:
                self._last_error = error
                logger.warning("%s", error, extra=self._log_fields)
            await self._publish()
            if self._protocol.failure is not None:
                self._last_error = self._protocol.failure
                raise self._protocol.failure
            if self._closing:
                return
            if self._waits_for_leave:
                await self._wait_for_leave(self._protocol.timeouts.hello_s)
            else:
                await asyncio.sleep(self._backoff.next_delay())

    async def _use_one_websocket(self) -> None:
        """From connecting to `connection_lost`. Raises `SignalingUnreachable`, or the refusal that still stands."""
        self._waits_for_leave = False
        if not self._protocol.can_resume and (refusal := self._guard.refusal(self._config, self._now())) is not None:
            raise refusal
        websocket = await self._open()
        reason = "the websocket was given up"
        try:
            self._protocol.connected(self._now())
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(websocket), name="signaling writer")
                reason = await self._read(websocket)
                writer.cancel()
            await self._part(websocket)
        finally:
            self._protocol.connection_lost(reason, self._now())
            self._give_up_attempt()
            self._forget_being_in_room(reason)
            websocket.transport.abort()
            await websocket.wait_closed()

    async def _open(self) -> ClientConnection:
        try:
            return await connect(
                self._url,
                ssl=await self._tls(),
                compression=None,
                proxy=None if is_loopback(self._url) else True,
                user_agent_header="live_transcription",
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=self._ping_interval_s,
                ping_timeout=self._ping_timeout_s,
                close_timeout=1.0,
                max_size=MAX_FRAME_BYTES,
                logger=_library_logger,
            )
        except (OSError, WebSocketException, ImportError) as error:
            raise unreachable(error, self._host) from None

    async def _tls(self) -> ssl.SSLContext | None:
        """Made once, off the loop: reading the certificates takes tens of milliseconds."""
        if self._ssl is None and self._url.startswith("wss:"):
            self._ssl = await asyncio.to_thread(ssl.create_default_context)
            if not self._config.verify_certificates:
                self._ssl.check_hostname = False
                self._ssl.verify_mode = ssl.CERT_NONE
        return self._ssl

    # One websocket.

    async def _read(self, websocket: ClientConnection) -> str:
        """Feed the protocol until it or the server has done with this websocket; says why."""
        while True:
            try:
                async with asyncio.timeout_at(self._protocol.deadline):
                    message = await websocket.recv()
            except TimeoutError:
                self._protocol.timer(self._now())
            except ConnectionClosed as closed:
                return closing_reason(closed)
            else:
                if isinstance(message, str):
                    self._protocol.receive_text(message, self._now())
                else:
                    self._protocol.receive_invalid("not text")
            if self._protocol.hello_wanted:
                await self._ask_for_leave()
            self._report_hello()
            self._to_send.set()
            await self._publish()
            if self._protocol.failure is not None:
                return "refused"
            if self._protocol.drop_reason is not None:
                return self._protocol.drop_reason

    async def _write(self, websocket: ClientConnection) -> None:
        asked: int | None = None
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while (frame := self._protocol.next_frame()) is not None:
                try:
                    await websocket.send(frame.text)
                except (ConnectionClosed, asyncio.CancelledError) as error:
                    self._protocol.unsent(frame)
                    if isinstance(error, ConnectionClosed):
                        return
                    raise
                self._protocol.outbox.sent(frame)
            if self._protocol.finished:
                await websocket.close()
                return
            if (mark := self._protocol.outbox.unproved) is not None and mark != asked:
                asked = mark
                with suppress(ConnectionClosed):
                    pong = asyncio.ensure_future(await websocket.ping())
                    pong.add_done_callback(partial(self._prove, mark))

    def _prove(self, mark: int, pong: asyncio.Future[float]) -> None:
        if not pong.cancelled() and pong.exception() is None:
            self._protocol.outbox.proved(mark)

    async def _part(self, websocket: ClientConnection) -> None:
        """Leave a websocket that is of no more use politely: a bye where the protocol has one, and the closing handshake."""
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(1.0):
                if self._protocol.failure is not None:
                    while (frame := self._protocol.next_frame()) is not None:
                        await websocket.send(frame.text)
                await websocket.close()

    async def _publish(self) -> None:
        if self._protocol.in_room and self._in_room_since is None:
            self._in_room_since = self._now()
            self._last_error = None
            logger.info("In the room", extra={**self._log_fields, "hpb_version": self._protocol.server_version})
        for event in self._protocol.take_events():
            await self._events.put(event)

    def _forget_being_in_room(self, reason: str) -> None:
        if self._in_room_since is not None and self._now() - self._in_room_since >= SOUND_AFTER_S:
            self._backoff.reset()
        self._in_room_since = None
        if not self._closing and self._protocol.failure is None:
            self._last_error = SignalingUnreachable(f"The connection to the high-performance backend ended: {reason}.")
            logger.warning("Signaling connection lost: %s", reason, extra=self._log_fields)

    # Leave to say hello, which all calls of the service share.

    async def _ask_for_leave(self) -> None:
        give_up_at = self._now() + HELLO_LEAVE_S
        while self._protocol.hello_wanted:
            self._guard_changed.clear()
            match self._guard.ask(self._config, self._now(), doubtful=self._had_session):
                case HelloAttempt() as attempt:
                    self._attempt = attempt
                    self._protocol.permit_hello(self._now())
                case SignalingRefused() as refusal:
                    self._protocol.refuse_hello(refusal)
                case Wait() if (left := give_up_at - self._now()) > 0:
                    await self._wait_for_leave(left)
                case Wait():
                    self._waits_for_leave = True
                    self._protocol.give_up_websocket("another hello has to be answered first")

    async def _wait_for_leave(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._guard_changed.wait()

    def _report_hello(self) -> None:
        if self._attempt is None:
            return
        if self._protocol.authenticated:
            self._had_session = True
            self._guard.accepted(self._attempt)
            self._attempt = None
        elif isinstance(self._protocol.failure, SignalingRefused):
            self._guard.refused(self._attempt, self._protocol.failure, self._now())
            self._attempt = None

    def _give_up_attempt(self) -> None:
        if self._attempt is not None:
            self._guard.abandoned(self._attempt)
            self._attempt = None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

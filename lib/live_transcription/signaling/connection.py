# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The asyncio shell of `protocol`: one room's websocket to the HPB, opened again and again until it is closed."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from contextlib import suppress
from functools import partial

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingError, SignalingRefused, SignalingUnreachable
from live_transcription.runtime.backoff import Backoff
from live_transcription.runtime.hosts import host_of, is_loopback
from live_transcription.runtime.redirects import RefusingConnect
from live_transcription.runtime.tls import client_context
from live_transcription.signaling.event_queue import EVENT_LIMIT, EVENT_OCTETS, EventQueue
from live_transcription.signaling.events import SignalingEvent
from live_transcription.signaling.hello_guard import HelloAttempt, HelloGuard, Wait
from live_transcription.signaling.protocol import SignalingProtocol
from live_transcription.signaling.reachability import closing_reason, unreachable
from live_transcription.signaling.requests import Recipient
from live_transcription.signaling.states import Timeouts
from live_transcription.signaling.urls import websocket_url
from live_transcription.types import Caption

logger = logging.getLogger("live_transcription.signaling")
#: The library's own log would hold every frame at level DEBUG.
_library_logger = logging.getLogger("live_transcription.signaling.websocket")
_library_logger.setLevel(logging.WARNING)

#: Largest frame accepted from the HPB. An entry of `participants/update` has up to 730 octets, with two ids of 255 characters.
#: A room of 10,000 takes 7.3 MB, and twice that if all of them are listed as changed, too.
MAX_FRAME_BYTES = 16 * 1024 * 1024
#: Frames beyond this size are parsed in slices, between which other calls run. One of this size takes 1 to 2 ms.
LARGE_FRAME_CHARS = 256 * 1024
#: Complete messages that the websocket library may buffer before it stops reading. It does not count octets; its default is 16.
LIBRARY_MESSAGES = 1
#: For TCP, TLS and the websocket's handshake together.
OPEN_TIMEOUT_S = 3.0
#: While the HPB is unreachable, attempts of a room begin at most so many seconds apart, and at least a quarter of it.
RETRY_S = 6.0
#: Rooms that wait for the same moment are spread over so many seconds.
SPREAD_S = 2.0
#: The HPB drops a websocket that is silent for 60 s.
PING_INTERVAL_S = 15.0
PING_TIMEOUT_S = 10.0
#: Time in the room after which a connection counts as sound, and the next retry comes at once.
SOUND_AFTER_S = 10.0
#: How long an open websocket waits for permission to send a hello; the HPB waits 2 s for one.
HELLO_LEAVE_S = 0.8


class SignalingConnection:
    """One room. `run()` stays connected, `next_event()` returns the room's events; the send methods queue and never wait.

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
        event_octets: int = EVENT_OCTETS,
    ) -> None:
        """Raises `ConfigurationError` for a malformed URL in `config`."""
        self._config = config
        self._url = websocket_url(config.url)
        self._host = host_of(self._url)
        self._guard = guard
        self._backoff = backoff or Backoff(random.random, cap_s=RETRY_S, least=0.25)
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._log_fields = {"room": room_token, "host": self._host}
        self._protocol = SignalingProtocol(config, room_token, timeouts=timeouts)
        self._events = EventQueue(event_limit, octets=event_octets)
        self._to_send = asyncio.Event()
        self._guard_changed = asyncio.Event()
        #: Set while the HPB refuses the app, so that nobody waits for the room to be joined; `last_error` says why.
        self.refused = asyncio.Event()
        self._ended = asyncio.Event()
        self._life: asyncio.Timeout | None = None
        self._attempt: HelloAttempt | None = None
        self._waits_for_leave = False
        self._lost_at: float | None = None
        self._in_room_since: float | None = None
        self._closing = False
        self._cut = False
        self._last_error: SignalingError | None = None
        self._tried_at = 0.0

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
    def dropped_frames(self) -> int:
        """Frames to the HPB that were given up: the queue of 1024 was full, or the frame too large."""
        return self._protocol.dropped_frames

    @property
    def repeated_captions(self) -> int:
        """Number of captions sent again after a break because nothing proved that the HPB had read them."""
        return self._protocol.outbox.repeated

    @property
    def unproved(self) -> int:
        """Frames that were written to the websocket, and are sent again if it breaks before the HPB has read them."""
        return self._protocol.outbox.unproved_count

    async def run(self) -> None:
        """Connect, join, resume and reconnect until `close()`. For one task, once.

        An unreachable HPB is tried again within `RETRY_S`; one that refuses the app, as `HelloGuard` allows. Raises
        `RoomRefused` if the room does not exist. Cancelling cuts the websocket without a bye, so the HPB keeps the session
        for 30 s.
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
            self._events.close()

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
            self._events.close()
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
            await self._wait_until_hello_may_be_sent()
            self._waits_for_leave = False
            self._tried_at = self._now()
            try:
                await self._use_one_websocket()
            except SignalingUnreachable as error:
                self._note(error)
            await self._publish()
            if self._protocol.failure is not None:
                self._last_error = self._protocol.failure
                raise self._protocol.failure
            if self._closing:
                return
            if not self._waits_for_leave:
                await asyncio.sleep(self._backoff.next_delay(self._now() - self._tried_at))

    async def _use_one_websocket(self) -> None:
        """From connecting to `connection_lost`. Raises `SignalingUnreachable`."""
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
            if self._protocol.authenticated:
                self._lost_at = self._now()
            self._protocol.connection_lost(reason, self._now())
            self._give_up_attempt()
            self._forget_being_in_room(reason)
            websocket.transport.abort()
            await websocket.wait_closed()

    async def _open(self) -> ClientConnection:
        try:
            tls = await client_context(verify=self._config.verify_certificates) if self._url.startswith("wss:") else None
            return await RefusingConnect(
                self._url,
                ssl=tls,
                compression=None,
                proxy=None if is_loopback(self._url) else True,
                user_agent_header="live_transcription",
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=self._ping_interval_s,
                ping_timeout=self._ping_timeout_s,
                close_timeout=1.0,
                max_size=MAX_FRAME_BYTES,
                max_queue=LIBRARY_MESSAGES,
                logger=_library_logger,
            )
        except (OSError, WebSocketException, ImportError) as error:
            raise unreachable(error, self._url) from None

    # One websocket.

    async def _read(self, websocket: ClientConnection) -> str:
        """Feed the protocol until it or the server has done with this websocket; says why."""
        while True:
            octets = 0
            try:
                async with asyncio.timeout_at(self._protocol.deadline):
                    # The HPB relays participants' octets unchanged: with decoding, invalid UTF-8 would end the connection.
                    message = await websocket.recv(decode=False)
            except TimeoutError:
                self._protocol.timer(self._now())
            except ConnectionClosed as closed:
                return closing_reason(closed)
            else:
                octets = await self._receive(message)
            if self._protocol.hello_wanted:
                await self._ask_for_leave()
            self._report_hello()
            self._to_send.set()
            await self._publish(octets)
            if self._protocol.failure is not None:
                return "the room was refused"
            if self._protocol.drop_reason is not None:
                return self._protocol.drop_reason

    async def _receive(self, message: bytes) -> int:
        """Feed one message to the protocol. Returns the number of octets of the events that are still to be published."""
        text = message.decode("utf-8", "replace")
        if len(text) <= LARGE_FRAME_CHARS:
            self._protocol.receive_text(text, self._now())
            return len(message)
        for share in self._protocol.receive_large(text, self._now()):
            await self._publish(math.ceil(len(message) * share))
            await asyncio.sleep(0)
        return 0

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
                if self._protocol.failure is not None or self._protocol.refusal is not None:
                    while (frame := self._protocol.next_frame()) is not None:
                        await websocket.send(frame.text)
                await websocket.close()

    async def _publish(self, octets: int = 0) -> None:
        """Pass the protocol's events to the call; wait while its queue is full. `octets`: size of the frame behind them."""
        if self._protocol.in_room and self._in_room_since is None:
            self._in_room_since = self._now()
            self._last_error = None
            self.refused.clear()
            logger.info("In the room", extra={**self._log_fields, "hpb_version": self._protocol.server_version})
        for event in self._protocol.take_events():
            await self._events.put(event, octets)

    def _forget_being_in_room(self, reason: str) -> None:
        now = self._now()
        if self._in_room_since is not None:
            self._tried_at = now
            if now - self._in_room_since >= SOUND_AFTER_S:
                self._backoff.reset()
        self._in_room_since = None
        if self._closing or self._protocol.failure is not None or self._waits_for_leave:
            return
        self._note(
            self._protocol.refusal or SignalingUnreachable(f"The connection to the high-performance backend ended: {reason}.")
        )

    def _note(self, error: SignalingError) -> None:
        """Remember why we are not in the room. Logged at INFO only when it changes, since every attempt fails the same way."""
        level = logging.DEBUG if str(error) == str(self._last_error) else logging.INFO
        logger.log(level, "Not in the room: %s", error, extra={**self._log_fields, "code": error.code})
        self._last_error = error
        if isinstance(error, SignalingRefused):
            self.refused.set()
        else:
            self.refused.clear()

    # Permission to send a hello, shared by all calls of the service.

    async def _wait_until_hello_may_be_sent(self) -> None:
        """Wait before connecting while the credential rests after a refusal or another room tries it."""
        while not self._protocol.can_resume:
            self._guard_changed.clear()
            wait = self._guard.obstacle(self._config, self._now())
            if wait is None or (wait.refusal is None and not self._waits_for_leave):
                return
            if wait.refusal is not None:
                self._note(wait.refusal)
            await self._wait_for_guard(wait.until)
            await asyncio.sleep(random.uniform(0.0, SPREAD_S))

    async def _ask_for_leave(self) -> None:
        """Get permission on an open websocket, while the server waits for a hello."""
        give_up_at = self._now() + HELLO_LEAVE_S
        while self._protocol.hello_wanted:
            self._guard_changed.clear()
            match self._guard.ask(self._config, self._now(), lost_at=self._lost_at):
                case HelloAttempt() as attempt:
                    self._attempt = attempt
                    self._protocol.permit_hello(self._now(), patient=attempt.patient)
                case Wait(refusal=None, until=None) if self._now() < give_up_at:
                    await self._wait_for_guard(give_up_at)
                case Wait():
                    self._waits_for_leave = True
                    self._protocol.give_up_websocket("another hello has to be answered first")

    async def _wait_for_guard(self, until: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._guard_changed.wait()

    def _report_hello(self) -> None:
        if self._attempt is None:
            return
        if self._protocol.authenticated:
            self._guard.accepted(self._attempt, self._now())
            self._attempt = None
        elif self._protocol.refusal is not None:
            self._guard.refused(self._attempt, self._protocol.refusal, self._now())
            self._attempt = None

    def _give_up_attempt(self) -> None:
        if self._attempt is not None:
            self._guard.abandoned(self._attempt, self._now())
            self._attempt = None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

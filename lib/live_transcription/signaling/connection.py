# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The asyncio shell of `protocol`: keeps one room's session at the HPB, over one websocket after another."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from contextlib import suppress
from functools import partial

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingError, SignalingRefused, SignalingUnreachable
from live_transcription.runtime.backoff import Backoff
from live_transcription.runtime.hosts import host_of
from live_transcription.signaling.diagnosis import closing_reason
from live_transcription.signaling.event_queue import EventQueue
from live_transcription.signaling.events import SignalingEvent
from live_transcription.signaling.hello_guard import HelloAttempt, HelloGuard, Wait
from live_transcription.signaling.protocol import PublisherChannel, SignalingProtocol, Timeouts
from live_transcription.signaling.requests import Recipient
from live_transcription.signaling.urls import websocket_url
from live_transcription.signaling.websocket import open_websocket
from live_transcription.texts import Text
from live_transcription.types import Caption

logger = logging.getLogger("live_transcription.signaling")

#: Largest frame accepted from the HPB, in octets. An entry of `participants/update` has up to 730 octets, with two ids of 255
#: characters. A room of 10,000 takes 7.3 MB, and twice that if all of them are listed as changed, too.
MAX_FRAME_BYTES = 16 * 1024 * 1024
#: Frames beyond this size are parsed in slices, between which other calls run. One of this size takes 1 to 2 ms.
LARGE_FRAME_CHARS = 256 * 1024
#: Complete messages that the websocket library may buffer before it stops reading. It does not count octets; its default is 16.
LIBRARY_MESSAGES = 1
#: Seconds for TCP, TLS and the websocket's handshake together.
OPEN_TIMEOUT_S = 3.0
#: While the HPB is unreachable, attempts of a room begin at most so many seconds apart, and at least a quarter of it.
RETRY_S = 6.0
#: Rooms that wait for the same moment are spread over so many seconds.
SPREAD_S = 2.0
#: Seconds in the room after which the next retry comes at once.
STABLE_AFTER_S = 10.0
#: Seconds for which an open websocket waits for permission to send a hello; the HPB waits 2 s for one.
PERMISSION_S = 0.8
#: Seconds for saying goodbye on a websocket that is of no more use.
PART_S = 1.0


class SignalingConnection:
    """One room. `run` stays connected, `next_event` returns the room's events in order, and sending never waits."""

    def __init__(
        self,
        config: HpbConfig,
        room_token: str,
        *,
        guard: HelloGuard,
        timeouts: Timeouts | None = None,
        backoff: Backoff | None = None,
        event_queue: EventQueue | None = None,
    ) -> None:
        """`guard` is shared by all calls. Raises ConfigurationError for a malformed address in `config`."""
        self._config = config
        self._guard = guard
        self._backoff = backoff or Backoff(random.random, cap_s=RETRY_S, least=0.25)
        self._log_fields = {"room": room_token, "host": host_of(websocket_url(config.url))}
        self._protocol = SignalingProtocol(config, room_token, timeouts=timeouts)
        self._events = EventQueue() if event_queue is None else event_queue
        self._wake_writer = asyncio.Event()
        self._protocol.outbox.on_frame = self._wake_writer.set
        #: Set while the HPB refuses the app, so that nobody waits for the room to be joined; `last_error` has the reason.
        self.refused = asyncio.Event()
        #: Why the app is not in the room, if known; None while it is.
        self.last_error: SignalingError | None = None
        self._ended = asyncio.Event()
        self._life: asyncio.Timeout | None = None
        self._closing = False
        self._cut = False
        self._attempt: HelloAttempt | None = None
        self._yielded = False
        self._lost_at: float | None = None
        self._in_room_since: float | None = None
        self._tried_at = 0.0

    @property
    def in_room(self) -> bool:
        """Whether captions can be sent now."""
        return self._protocol.in_room

    @property
    def in_flight(self) -> int:
        """Number of frames that the HPB has not acknowledged; they are sent again if the websocket breaks."""
        return self._protocol.outbox.in_flight

    async def run(self) -> None:
        """Connect, join, resume and reconnect until `close`. Call this once.

        An unreachable HPB is tried again within `RETRY_S`; one that refuses the app, when `HelloGuard` allows it. Raises
        RoomRefused if the room does not exist. If cancelled, the websocket is cut without a bye, and the HPB keeps the session
        for 30 s.
        """
        if self._life is not None:
            raise RuntimeError("SignalingConnection.run() was called twice")
        self._life = asyncio.timeout(None)
        try:
            if not self._closing:
                async with self._life:
                    await self._stay_connected()
        except TimeoutError:
            if not self._cut:
                raise
        finally:
            self._ended.set()
            self._events.close()

    async def next_event(self) -> SignalingEvent:
        """Wait for the next event. Raises SignalingEnded when `run` has ended or `close` was called."""
        return await self._events.get()

    def channel(self, publisher: str, room_type: str = "video") -> PublisherChannel:
        """A channel for messages about one publisher."""
        return self._protocol.channel(publisher, room_type)

    def send_caption(self, recipient: Recipient, caption: Caption) -> bool:
        """Queue a caption. Returns False if the caller has to keep it: see `SignalingProtocol.send_caption`."""
        return self._protocol.send_caption(recipient, caption)

    async def close(self, timeout_s: float = 1.0) -> None:
        """Send what is queued, say bye, and end `run`. After `timeout_s` cut the websocket. Idempotent, safe at any time."""
        self._closing = True
        self._protocol.close()
        self._wake_writer.set()
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
                self._life.reschedule(self._now())
            await self._ended.wait()

    # One websocket after another.

    async def _stay_connected(self) -> None:
        while not self._closing:
            await self._wait_until_hello_may_succeed()
            self._yielded = False
            self._tried_at = self._now()
            try:
                await self._use_one_websocket()
            except SignalingUnreachable as error:
                self._note(error)
            await self._publish()
            if self._protocol.failure is not None:
                self.last_error = self._protocol.failure
                raise self._protocol.failure
            if self._closing:
                return
            if not self._yielded:
                await asyncio.sleep(self._backoff.next_delay(self._now() - self._tried_at))

    async def _use_one_websocket(self) -> None:
        """From connecting to `connection_lost`. Raises SignalingUnreachable."""
        websocket = await open_websocket(
            self._config,
            open_timeout_s=OPEN_TIMEOUT_S,
            max_size=MAX_FRAME_BYTES,
            max_queue=LIBRARY_MESSAGES,
            ping_interval=self._protocol.timeouts.ping_interval_s,
            ping_timeout=self._protocol.timeouts.pong_s,
        )
        reason: str = Text("the websocket was abandoned")
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
            self._report_hello(lost=True)
            self._leave_room(reason)
            websocket.transport.abort()
            await websocket.wait_closed()

    async def _read(self, websocket: ClientConnection) -> str:
        """Feed the protocol until this websocket is of no more use; returns the reason."""
        while True:
            octets = 0
            # The next frame, or the protocol's deadline.
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
            # A full hello needs permission, and its outcome decides about the hellos of other rooms.
            if self._protocol.hello_wanted:
                await self._get_permission()
            self._report_hello()
            # What the protocol has to say and to send.
            self._wake_writer.set()
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
        pinged: int | None = None
        while True:
            await self._wake_writer.wait()
            self._wake_writer.clear()
            try:
                while (frame := self._protocol.next_frame()) is not None:
                    await websocket.send(frame.text)
                if self._protocol.finished:
                    await websocket.close()
                    return
                # A pong shows that the HPB has read everything before the ping.
                if (number := self._protocol.outbox.last_in_flight) is not None and number != pinged:
                    pinged = number
                    pong = asyncio.ensure_future(await websocket.ping())
                    pong.add_done_callback(partial(self._acknowledge, number))
            except ConnectionClosed:
                return  # the reader reports it

    def _acknowledge(self, number: int, pong: asyncio.Future[float]) -> None:
        if not pong.cancelled() and pong.exception() is None:
            self._protocol.outbox.acknowledge(number)

    async def _part(self, websocket: ClientConnection) -> None:
        """Leave a websocket politely: with a bye if the protocol has one, and the closing handshake."""
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(PART_S):
                if self._protocol.failure is not None or self._protocol.refusal is not None:
                    while (frame := self._protocol.next_frame()) is not None:
                        await websocket.send(frame.text)
                await websocket.close()

    async def _publish(self, octets: int = 0) -> None:
        """Pass the protocol's events to the call; wait while its queue is full. `octets` is the size of their frame."""
        if self._protocol.in_room and self._in_room_since is None:
            self._in_room_since = self._now()
            self.last_error = None
            self.refused.clear()
            logger.info("In the room", extra={**self._log_fields, "hpb_version": self._protocol.server_version})
        for event in self._protocol.take_events():
            await self._events.put(event, octets)

    def _leave_room(self, reason: str) -> None:
        """The websocket is gone: note why, and reset the backoff if the connection was stable."""
        now = self._now()
        if self._in_room_since is not None:
            self._tried_at = now
            if now - self._in_room_since >= STABLE_AFTER_S:
                self._backoff.reset()
        self._in_room_since = None
        if self._closing or self._protocol.failure is not None or self._yielded:
            return
        self._note(
            self._protocol.refusal
            or SignalingUnreachable(
                "The connection to the high-performance backend ended: {reason}.",
                fix="The app tries again automatically.",
                reason=reason,
            )
        )

    def _note(self, error: SignalingError) -> None:
        """Remember why the app is not in the room. Logged at INFO only when it changes: all attempts fail the same way."""
        level = logging.DEBUG if str(error) == str(self.last_error) else logging.INFO
        logger.log(level, "Not in the room: %s", error, extra={**self._log_fields, "code": error.code})
        self.last_error = error
        if isinstance(error, SignalingRefused):
            self.refused.set()
        else:
            self.refused.clear()

    # Permission to send a hello, which all calls of the service share.

    async def _wait_until_hello_may_succeed(self) -> None:
        """Wait before connecting while the HPB refuses the credential, or after giving way to another room's hello."""
        while not self._protocol.can_resume:
            wait = self._guard.obstacle(self._config, self._now())
            if wait is None or (wait.refusal is None and not self._yielded):
                return
            if wait.refusal is not None:
                self._note(wait.refusal)
            await self._guard.wait(wait.until)
            await asyncio.sleep(random.uniform(0.0, SPREAD_S))

    async def _get_permission(self) -> None:
        """Get permission on an open websocket, or give the websocket up before the HPB loses patience."""
        give_up_at = self._now() + PERMISSION_S
        while self._protocol.hello_wanted:
            match self._guard.ask(self._config, self._now(), lost_at=self._lost_at):
                case HelloAttempt() as attempt:
                    self._attempt = attempt
                    self._protocol.permit_hello(self._now(), patient=attempt.patient)
                case Wait(refusal=None, until=None) if self._now() < give_up_at:
                    await self._guard.wait(give_up_at)
                case Wait():
                    self._yielded = True
                    self._protocol.drop("another hello has to be answered first")

    def _report_hello(self, *, lost: bool = False) -> None:
        """Tell the guard the outcome of our hello, once there is one or the websocket is `lost`."""
        accepted, refusal = self._protocol.authenticated, self._protocol.refusal
        if self._attempt is not None and (accepted or refusal is not None or lost):
            self._guard.settle(self._attempt, self._now(), accepted=accepted, refusal=refusal)
            self._attempt = None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

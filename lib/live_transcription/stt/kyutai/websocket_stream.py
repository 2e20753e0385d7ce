# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The asyncio shell of the streams over websockets: sockets here, the dialects' words in their sans-IO `Dialect`."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.protocol import State

from live_transcription.errors import SttError, SttUnavailable
from live_transcription.runtime.hosts import is_loopback
from live_transcription.runtime.redirects import RefusingConnect
from live_transcription.runtime.tls import client_context
from live_transcription.stt.base import SttEvent, SttStream, Token
from live_transcription.stt.http import Server
from live_transcription.stt.kyutai.handshake import SttStalled, opening_error
from live_transcription.stt.metrics import SttStatistics
from live_transcription.types import Frame

#: Largest message taken from a server, in bytes; beyond it the connection is closed (1009).
MESSAGE_LIMIT = 2 * 1024 * 1024
#: Replies that wait for the reader before TCP holds the server back.
REPLY_QUEUE = 32
#: How long a server may take to close, in seconds.
_CLOSE_S = 1.0
#: How long a server may take for its first word of protocol after the handshake, in seconds.
_READY_S = 10.0

#: Send buffer in bytes (the system doubles it for its own needs): some two seconds of audio, and enough for a replay at four
#: times real time with a round trip of a third of a second.
_SEND_BUFFER = 128 * 1024
#: Seconds for which a server may block sending.
_SEND_S = 6.0

# The library writes headers, credentials included, at debug level: never.
_wire_logger = logging.getLogger(f"{__name__}.wire")
_wire_logger.setLevel(logging.WARNING)


class Dialect(Protocol):
    """The sans-IO half of one connection. `now` is seconds of a monotonic clock; messages go out in the order given.

    `ready`: audio may be sent. `ended`: after `end`, all words have come. `heard_s`: see `SttStream`.
    """

    @property
    def ready(self) -> bool: ...

    @property
    def ended(self) -> bool: ...

    @property
    def heard_s(self) -> float | None: ...

    def send(self, frame: Frame, now: float) -> Sequence[bytes | memoryview]: ...

    def flush(self, now: float) -> Sequence[bytes | memoryview]: ...

    def end(self, now: float) -> Sequence[bytes | memoryview]: ...

    def receive(self, message: str | bytes, now: float) -> Sequence[SttEvent]:
        """Raises SttError where the server says that it cannot go on; never for garbage."""

    def tick(self, now: float) -> Sequence[SttEvent]: ...

    def next_deadline(self) -> float | None: ...

    def replaceable(self, now: float) -> bool: ...

    def closed(self, code: int | None, now: float) -> SttError:
        """Why the server closed, with this code (None: without a word)."""


class WebsocketStream(SttStream):
    """One connection. It is read only by `events()`, so nothing accumulates here, and TCP slows the server down."""

    def __init__(self, connection: ClientConnection, dialect: Dialect, statistics: SttStatistics) -> None:
        self._connection = connection
        self._dialect = dialect
        self._statistics = statistics
        self._clock = asyncio.get_running_loop().time
        self._waiting: asyncio.Timeout | None = None
        self._first_audio_at: float | None = None
        self._spoke = False
        self._pieces = False
        self._transmitting = False

    @property
    def heard_s(self) -> float | None:
        return self._dialect.heard_s

    @property
    def replaceable(self) -> bool:
        return self._dialect.replaceable(self._clock())

    def send_now(self, frame: Frame) -> bool:
        """Through the library's sans-IO protocol to the socket, past its locks and a timeout, which cost as much again."""
        if not self._free:
            return False
        for message in self._messages(frame):
            self._write(message)
        self._look_again()
        return True

    def _messages(self, frame: Frame) -> Sequence[bytes | memoryview]:
        now = self._clock()
        if self._first_audio_at is None:
            self._first_audio_at = now
        return self._dialect.send(frame, now)

    @property
    def _free(self) -> bool:
        """Whether nothing waits to be sent, so that a message would be sent at once."""
        connection = self._connection
        return not (
            self._transmitting or connection.protocol.state is not State.OPEN or connection.transport.get_write_buffer_size()
        )

    def _write(self, message: bytes | memoryview) -> None:
        protocol = self._connection.protocol
        protocol.send_binary(message)
        for octets in protocol.data_to_send():
            self._connection.transport.write(octets)

    async def send(self, frame: Frame) -> None:
        await self._transmit(self._messages(frame))

    async def flush(self) -> None:
        await self._transmit(self._dialect.flush(self._clock()))

    async def end(self) -> None:
        await self._transmit(self._dialect.end(self._clock()))
        if self._dialect.ended and self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(self._clock())

    async def ready(self) -> None:
        """Wait until the server takes audio. Raises SttError."""
        try:
            async with asyncio.timeout(_READY_S):
                while not self._dialect.ready:
                    self._dialect.receive(await self._connection.recv(), self._clock())
        except TimeoutError:
            raise SttUnavailable("The speech-to-text server accepts connections but says nothing.", fix="Restart it.") from None
        except ConnectionClosed as error:
            raise self._closed(error) from None

    async def events(self) -> AsyncIterator[SttEvent]:
        while not self._dialect.ended:
            message: str | bytes | None = None
            try:
                async with asyncio.timeout_at(self._dialect.next_deadline()) as self._waiting:
                    message = await self._connection.recv()
            except TimeoutError:
                pass
            except ConnectionClosed as error:
                raise self._closed(error) from None
            except UnicodeDecodeError:
                continue
            finally:
                self._waiting = None
            now = self._clock()
            # A deadline that has passed comes before a message that came after it.
            events = [*self._dialect.tick(now), *(self._dialect.receive(message, now) if message is not None else ())]
            for event in events:
                self._count(event)
                yield event

    async def _transmit(self, messages: Sequence[bytes | memoryview]) -> None:
        at_once = 0
        while at_once < len(messages) and self._free:
            self._write(messages[at_once])
            at_once += 1
        if at_once < len(messages):
            await self._transmit_patiently(messages[at_once:])
        self._look_again()

    async def _transmit_patiently(self, messages: Sequence[bytes | memoryview]) -> None:
        # Messages of one frame may have to wait between them for room.
        self._transmitting = True
        try:
            async with asyncio.timeout(_SEND_S):
                for message in messages:
                    await self._connection.send(message)
        except TimeoutError:
            raise SttStalled("The speech-to-text server takes no more audio.", fix="Look into the server's log.") from None
        except ConnectionClosed as error:
            raise self._closed(error) from None
        finally:
            self._transmitting = False

    def _look_again(self) -> None:
        """The deadline may be another. One that has become later is found out when the earlier one has passed."""
        waiting, deadline = self._waiting, self._dialect.next_deadline()
        if waiting is None or deadline is None or waiting.expired():
            return
        when = waiting.when()
        if when is None or deadline < when:
            waiting.reschedule(deadline)

    def _closed(self, error: ConnectionClosed) -> SttError:
        return self._dialect.closed(error.rcvd.code if error.rcvd is not None else None, self._clock())

    def _count(self, event: SttEvent) -> None:
        if not isinstance(event, Token):
            return
        self._pieces |= event.starts_word is None and event.text[:1].isspace()
        self._statistics.words += event.starts_word is True or (
            event.starts_word is None and (not self._pieces or event.text[:1].isspace())
        )
        if not self._spoke and self._first_audio_at is not None:
            self._statistics.first_token_s.append(self._clock() - self._first_audio_at)
        self._spoke = True


@asynccontextmanager
async def open_websocket(server: Server, service: str) -> AsyncIterator[ClientConnection]:
    """A websocket without compression. Raises SttError (see `handshake`).

    Leaving closes it within a second, or at once when cancelled.
    Proxies are taken from the environment as usual, but not for this machine itself.
    """
    url = server.stream_url
    try:
        connection = await RefusingConnect(
            url,
            additional_headers=server.headers(),
            compression=None,
            open_timeout=server.open_timeout_s,
            close_timeout=_CLOSE_S,
            max_size=MESSAGE_LIMIT,
            max_queue=REPLY_QUEUE,
            ping_interval=20,
            ping_timeout=20,
            proxy=None if is_loopback(url) else True,
            ssl=await client_context(verify=server.verify_certificates) if url.startswith("wss:") else None,
            logger=_wire_logger,
        )
    except (OSError, EOFError, WebSocketException) as error:
        raise opening_error(error, service, url=url, certificate_fix=server.certificate_fix) from None
    if (own := connection.transport.get_extra_info("socket")) is not None:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    try:
        yield connection
    except asyncio.CancelledError:
        # Nobody waits for a server's goodbye any more, least of all for one that hangs.
        connection.transport.abort()
        raise
    finally:
        await connection.close()


@asynccontextmanager
async def open_session(server: Server, service: str, statistics: SttStatistics) -> AsyncIterator[ClientConnection]:
    """As `open_websocket`, and counted as an open, hence billed, socket."""
    clock = asyncio.get_running_loop().time
    async with open_websocket(server, service) as connection:
        opened = statistics.socket_opened(clock())
        try:
            yield connection
        finally:
            statistics.socket_closed(opened, clock())

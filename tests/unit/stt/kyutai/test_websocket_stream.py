# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What goes out at once, past `connection.send`, against a server of the same library: whole messages, in order, or nothing.

`send_now` needs `connection.protocol`, `connection.transport` and `Protocol.send_binary` to be what they are in websockets 17.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ProtocolError

from live_transcription.config import MoshiConfig
from live_transcription.errors import SttError, SttUnavailable
from live_transcription.stt.base import SttEvent
from live_transcription.stt.kyutai.websocket_stream import WebsocketStream, open_websocket
from live_transcription.stt.metrics import SttStatistics
from live_transcription.types import Frame

#: Lengths around those at which a frame's header changes (RFC 6455, section 5.2), and the usual one.
LENGTHS = (0, 1, 125, 126, 7680, 65_535, 65_536, 200_000)


class Numbered:
    """A dialect whose every frame becomes `messages` messages that begin with a number and are as long as the test says."""

    ready = True
    ended = False
    heard_s = None

    def __init__(self, messages: int = 1) -> None:
        self.messages = messages
        self.sent: list[bytes] = []

    def send(self, frame: Frame, now: float) -> Sequence[bytes]:
        del now
        made = [number.to_bytes(4, "big") + frame.tobytes() for number in range(len(self.sent), len(self.sent) + self.messages)]
        self.sent += made
        return made

    def flush(self, now: float) -> Sequence[bytes]:
        del now
        return ()

    end = flush

    def receive(self, message: str | bytes, now: float) -> Sequence[SttEvent]:
        del message, now
        return ()

    def tick(self, now: float) -> Sequence[SttEvent]:
        del now
        return ()

    def next_deadline(self) -> float | None:
        return None

    def replaceable(self, now: float) -> bool:
        del now
        return False

    def closed(self, code: int | None, now: float) -> SttError:
        del now
        return SttUnavailable(f"closed with {code}")


class Listener:
    """A server that keeps what it is sent, once `reading` is set."""

    def __init__(self) -> None:
        self.received: list[bytes | str] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.connections: list[ServerConnection] = []

    async def __call__(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        await self.reading.wait()
        async for message in connection:
            self.received.append(message)

    async def has(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.received) < count:  # noqa: ASYNC110  the library tells nobody
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def talking(listener: Listener, dialect: Numbered) -> AsyncIterator[tuple[WebsocketStream, ClientConnection]]:
    async with serve(listener, "127.0.0.1", 0, compression=None, max_queue=1, ping_interval=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_websocket(MoshiConfig(url, open_timeout_s=5), "stand-in") as connection:
            yield WebsocketStream(connection, dialect, SttStatistics()), connection


def frame(length: int, seed: int) -> Frame:
    return np.random.default_rng(seed).integers(0, 255, length, dtype=np.uint8)  # type: ignore[return-value]


async def drained(connection: ClientConnection) -> None:
    async with asyncio.timeout(10):
        while connection.transport.get_write_buffer_size():  # noqa: ASYNC110  the transport tells only its protocol
            await asyncio.sleep(0.005)


async def test_messages_of_any_length_arrive_as_they_were_in_turns_with_those_that_wait_and_with_pings() -> None:
    listener, dialect = Listener(), Numbered(messages=2)
    async with talking(listener, dialect) as (stream, connection), asyncio.TaskGroup() as tasks:
        for seed, length in enumerate(LENGTHS * 3):
            await drained(connection)
            assert stream.send_now(frame(length, seed))
            await stream.send(frame(length, seed + 1000))
            tasks.create_task(_pong(listener.connections[0]))
            tasks.create_task(_pong(connection))
        await listener.has(len(dialect.sent))
    assert listener.received == dialect.sent


async def _pong(connection: ServerConnection | ClientConnection) -> None:
    async with asyncio.timeout(10):
        await (await connection.ping())


async def test_nothing_goes_past_a_message_that_waits() -> None:
    listener, dialect = Listener(), Numbered(messages=5)
    listener.reading.clear()
    async with talking(listener, dialect) as (stream, connection), asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(stream.send(frame(1_000_000, 0)))
        while not connection.transport.get_write_buffer_size():  # noqa: ASYNC110  as in `drained`
            await asyncio.sleep(0)
        assert not sending.done()
        assert not stream.send_now(frame(10, 1))
        listener.reading.set()
        refused = 0
        while not sending.done():
            refused += not stream.send_now(frame(10, 2))
            await asyncio.sleep(0)
        assert refused
        await drained(connection)
        assert stream.send_now(frame(10, 3))
        await listener.has(len(dialect.sent))
    assert listener.received == dialect.sent
    assert len(dialect.sent) == 10, "what was not taken has not been numbered either"


async def test_a_message_in_fragments_is_never_broken_up() -> None:
    listener, dialect = Listener(), Numbered()
    first, rest = asyncio.Event(), asyncio.Event()

    async def fragments() -> AsyncIterator[bytes]:
        yield b"one "
        first.set()
        await rest.wait()
        yield b"message"

    async with talking(listener, dialect) as (stream, connection), asyncio.TaskGroup() as tasks:
        tasks.create_task(connection.send(fragments()))
        await first.wait()
        with pytest.raises(ProtocolError):
            stream.send_now(frame(10, 1))
        rest.set()
        await listener.has(1)
    assert listener.received == [b"one message"]


async def test_nothing_is_taken_once_either_side_closes() -> None:
    listener, dialect = Listener(), Numbered()
    async with talking(listener, dialect) as (stream, connection):
        assert stream.send_now(frame(10, 1))
        await listener.has(1)
        await listener.connections[0].close(1013)
        await connection.wait_closed()
        assert not stream.send_now(frame(10, 2))
        with pytest.raises(SttUnavailable, match="1013"):
            await stream.send(frame(10, 3))

    listener, dialect = Listener(), Numbered()
    async with talking(listener, dialect) as (stream, connection), asyncio.TaskGroup() as tasks:
        assert stream.send_now(frame(10, 1))
        tasks.create_task(connection.close())
        await asyncio.sleep(0)
        assert not stream.send_now(frame(10, 2))
        await connection.wait_closed()
        assert connection.close_code == 1000
    assert listener.received == dialect.sent

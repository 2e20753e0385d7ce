# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A stream on a real websocket sends whole messages in order, and fails if the server closes or does not read.

The stream relies on `connection.protocol`, `connection.transport` and `Protocol.send_binary` of websockets 17.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection, serve

from live_transcription.config import MoshiConfig
from live_transcription.errors import SttError, SttStalled, SttUnavailable
from live_transcription.stt.kyutai.handshake import open_websocket
from live_transcription.stt.kyutai.session import Messages, Session
from live_transcription.stt.kyutai.websocket_stream import WebsocketStream
from live_transcription.transcript import SttEvent
from live_transcription.types import Frame

#: Message lengths around those at which the header changes (RFC 6455, section 5.2), and the usual one.
LENGTHS = (0, 1, 125, 126, 7680, 65_535, 65_536, 200_000)


class Numbered(Session):
    """A session that turns each frame into `messages` numbered messages with the frame's bytes."""

    def __init__(self, messages: int = 1) -> None:
        super().__init__(0.0)
        self.messages = messages
        self.sent: list[bytes] = []

    def send(self, frame: Frame, now: float) -> Messages:
        del now
        made = [number.to_bytes(4, "big") + frame.tobytes() for number in range(len(self.sent), len(self.sent) + self.messages)]
        self.sent += made
        return made

    def flush(self, now: float) -> Messages:
        del now
        return []

    def receive(self, message: str | bytes, now: float) -> Sequence[SttEvent]:
        del message, now
        return ()

    def tick(self, now: float) -> Sequence[SttEvent]:
        del now
        return ()

    def next_deadline(self) -> float | None:
        return None

    def closed(self, code: int | None, now: float) -> SttError:
        del now
        return SttUnavailable(f"closed with {code}")

    def _messages(self, steps: Sequence[Frame], now: float) -> Messages:
        raise AssertionError("not used")


class Listener:
    """A server that records what it receives while `reading` is set."""

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
            while len(self.received) < count:  # noqa: ASYNC110  there is no event to wait for
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def talking(listener: Listener, session: Numbered) -> AsyncIterator[tuple[WebsocketStream, ClientConnection]]:
    async with serve(listener, "127.0.0.1", 0, compression=None, max_queue=1, ping_interval=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_websocket(MoshiConfig(url, open_timeout_s=5), "stand-in") as connection:
            yield WebsocketStream(connection, session), connection


def frame(length: int, seed: int) -> Frame:
    return np.random.default_rng(seed).integers(0, 255, length, dtype=np.uint8)  # type: ignore[return-value]


async def test_messages_of_any_length_arrive_whole_and_in_order_between_pings() -> None:
    listener, session = Listener(), Numbered(messages=2)
    async with talking(listener, session) as (stream, connection), asyncio.TaskGroup() as tasks:
        for seed, length in enumerate(LENGTHS * 3):
            await stream.send(frame(length, seed))
            tasks.create_task(_pong(listener.connections[0]))
            tasks.create_task(_pong(connection))
        await listener.has(len(session.sent))
    assert listener.received == session.sent


async def _pong(connection: ServerConnection | ClientConnection) -> None:
    async with asyncio.timeout(10):
        await (await connection.ping())


async def test_a_server_that_accepts_no_more_audio_counts_as_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_transcription.stt.kyutai.websocket_stream._SEND_S", 0.05)
    listener, session = Listener(), Numbered()
    listener.reading.clear()
    async with talking(listener, session) as (stream, _):
        with pytest.raises(SttStalled):  # noqa: PT012  after as many frames as the buffers take
            for seed in range(200):
                await stream.send(frame(1_000_000, seed))
        listener.reading.set()


async def test_a_closed_connection_raises_the_error_of_its_close_code() -> None:
    listener, session = Listener(), Numbered()
    async with talking(listener, session) as (stream, connection):
        await stream.send(frame(10, 1))
        await listener.has(1)
        await listener.connections[0].close(1013)
        await connection.wait_closed()
        with pytest.raises(SttUnavailable, match="1013"):
            await stream.send(frame(10, 2))

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Independent clients of the stand-ins: websockets, JSON, msgpack, and no code of this project."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

FRAME = 1920
#: Longer than any answer takes on a busy machine, in seconds.
PATIENCE_S = 30.0


def tone(seconds: float) -> np.ndarray:
    """Loud enough to be speech for a pause head."""
    time = np.arange(int(seconds * 24_000)) / 24_000
    return (0.3 * np.sin(2 * np.pi * 220 * time)).astype("<f4")


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * 24_000), "<f4")


async def closing(socket: ClientConnection) -> tuple[int | None, str]:
    """Close code and reason as the peer gave them; (None, "") for a connection that was cut."""
    try:
        while True:
            await asyncio.wait_for(socket.recv(), PATIENCE_S)
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else (None, "")


class ModalClient:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, audio: np.ndarray, chunk: int = FRAME) -> None:
        for begin in range(0, len(audio), chunk):
            await self.socket.send(audio[begin : begin + chunk].tobytes())

    async def reply(self) -> Any:
        return json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE_S))

    async def replies(self, count: int) -> list[Any]:
        return [await self.reply() for _ in range(count)]


class MoshiClient:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        await self.socket.send(msgpack.packb(message, use_single_float=True))

    async def audio(self, audio: np.ndarray, chunk: int = FRAME) -> None:
        for begin in range(0, len(audio), chunk):
            await self.send(type="Audio", pcm=audio[begin : begin + chunk].tolist())

    async def message(self) -> dict[str, Any]:
        message: dict[str, Any] = msgpack.unpackb(await asyncio.wait_for(self.socket.recv(), PATIENCE_S))
        return message

    async def until_step(self, count: int) -> list[dict[str, Any]]:
        """All messages up to and with the words of the session's step number `count`."""
        messages: list[dict[str, Any]] = []
        steps = 0
        while steps < count:
            message = await self.message()
            messages.append(message)
            steps += message["type"] == "Step"
        return messages


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  the other side of a socket sets no event here
            await asyncio.sleep(0.01)


def open_socket(url: str, **headers: str) -> connect:
    return connect(
        url,
        additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
        compression=None,
        proxy=None,
        open_timeout=10,
        max_size=None,
        close_timeout=1,
    )

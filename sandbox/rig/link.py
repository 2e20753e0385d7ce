# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A TCP link between the app and the HPB that can be cut, stalled and refused."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sandbox.rig.wire import ClientMessages


class Link:
    """`async with Link(host, port) as link:` forwards `link.port` to there; plain TCP, so websockets pass through it."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.port = 0
        #: New connections are closed at once.
        self.refusing = False
        #: Connections that were accepted so far.
        self.accepted = 0
        #: The latest messages of clients on websockets, each with its Unix time.
        self.said: deque[tuple[float, dict[str, Any]]] = deque(maxlen=100_000)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._tasks)

    def offer_requests(self, publisher: str, since: float = 0.0) -> list[float]:
        """Unix times at which clients requested this session's offer."""
        return [
            at
            for at, said in self.said
            if at >= since
            and said.get("type") == "message"
            and said["message"]["recipient"].get("sessionid") == publisher
            and said["message"]["data"].get("type") == "requestoffer"
        ]

    def retarget(self, host: str, port: int) -> None:
        self._target = (host, port)

    def cut(self) -> int:
        """Breaks every connection at once, without a close frame. Returns how many."""
        broken = list(self._writers)
        for writer in broken:
            writer.transport.abort()
        return len(broken) // 2

    def stall(self) -> None:
        """Nothing gets through from now on; connections stay open."""
        self._open.clear()

    def unstall(self) -> None:
        self._open.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.unstall()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.refusing:
                writer.transport.abort()
                return
            self.accepted += 1
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(*self._target)
                messages = ClientMessages()
                await asyncio.gather(
                    self._forward(reader, far_writer, lambda chunk: self._note(messages.feed(chunk))),
                    self._forward(far_reader, writer),
                )
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    def _note(self, messages: list[dict[str, Any]]) -> None:
        self.said.extend((time.time(), message) for message in messages)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_chunk: Callable[[bytes], None] | None = None,
    ) -> None:
        self._writers.add(writer)
        try:
            while chunk := await reader.read(65536):
                await self._open.wait()
                if on_chunk is not None:
                    on_chunk(chunk)
                writer.write(chunk)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

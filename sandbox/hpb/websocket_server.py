# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One loopback port for both interfaces of the HPB, like the real one: `GET /spreed` upgrades, everything else is HTTP.

Written on websockets' sans-I/O protocol, because cutting a connection the hard way and holding its frames back
are things that a server library rightly keeps one from doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from sandbox.hpb.frames import MAX_FRAME

PING_S = 54.0
PONG_S = 60.0
_MAX_BODY = 256 * 1024
_MAX_UNSENT = 4 * 1024 * 1024
#: How `json` writes an octet that is no UTF-8 and was decoded as a lone surrogate (`surrogateescape`).
_ESCAPED_OCTET = re.compile(rb"(?<!\\)\\udc([89a-f][0-9a-f])")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    body: bytes = b"{}"
    content_type: str = "application/json; charset=utf-8"


class Websocket:
    """The server's end of one connection. Sending never blocks; a client that reads too slowly is cut off."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, features: str) -> None:
        self._reader = reader
        self._writer = writer
        self._features = features
        self._protocol = ServerProtocol(max_size=MAX_FRAME)
        self._parts: list[bytes] = []
        self._opcode: Opcode | None = None
        #: We have closed it: what the client still sends is not read. (What it sent before its own close is.)
        self.over = False
        peer = writer.get_extra_info("peername")
        self.address: str = peer[0] if peer else ""

    def accept(self, head: bytes) -> bool:
        """Answer the opening handshake; False where it was none."""
        self._protocol.receive_data(head)
        for request in self._protocol.events_received():
            assert isinstance(request, HandshakeRequest)
            response = self._protocol.accept(request)
            response.headers["X-Spreed-Signaling-Features"] = self._features
            self._protocol.send_response(response)
        self._flush()
        return self.open

    @property
    def open(self) -> bool:
        return self._protocol.state is OPEN and not self._writer.transport.is_closing()

    async def messages(self) -> AsyncIterator[str | bytes]:
        """Whole messages (bytes for binary ones) until the connection ends, in whatever way."""
        while True:
            try:
                async with asyncio.timeout(PONG_S):
                    received = await self._reader.read(65536)
            except (TimeoutError, OSError):
                self.abort()
                return
            if received:
                self._protocol.receive_data(received)
            else:
                self._protocol.receive_eof()
            frames = self._protocol.events_received()
            self._flush()
            for frame in frames:
                message = self._assemble(frame) if isinstance(frame, Frame) else None
                if message is not None:
                    yield message
            if not received or self._protocol.close_expected():
                return

    def _assemble(self, frame: Frame) -> str | bytes | None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._opcode, self._parts = frame.opcode, []
        elif frame.opcode is not Opcode.CONT:
            return None
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return None
        whole = b"".join(self._parts)
        return whole.decode(errors="surrogateescape") if self._opcode is Opcode.TEXT else whole

    def send(self, text: str) -> None:
        """Relay a participant's octets unchanged, valid UTF-8 or not, like the real HPB."""
        if self.open:
            octets = text.encode()
            if b"\\udc" in octets:
                octets = _ESCAPED_OCTET.sub(lambda match: bytes.fromhex(match[1].decode()), octets)
            self._protocol.send_text(octets)
            self._flush()

    def send_binary(self, data: bytes) -> None:
        if self.open:
            self._protocol.send_binary(data)
            self._flush()

    def ping(self) -> None:
        if self.open:
            self._protocol.send_ping(b"")
            self._flush()

    def close(self) -> None:
        """The closing handshake's first half; the TCP connection ends soon, whether the client answers or not."""
        self.over = True
        if self.open:
            self._protocol.send_close()
            self._flush()
            asyncio.get_running_loop().call_later(1.0, self._writer.transport.abort)

    def abort(self) -> None:
        """No close frame, no FIN: what the client sees as 1006."""
        self.over = True
        self._writer.transport.abort()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self._writer.transport.is_closing():
                return
            if data:
                self._writer.write(data)
            elif self._writer.can_write_eof():
                with contextlib.suppress(OSError):
                    self._writer.write_eof()
        if self._writer.transport.get_write_buffer_size() > _MAX_UNSENT:
            self.abort()


class WebsocketServer:
    """Listens on one address. `on_websocket` owns a connection until it returns; `on_request` answers plain HTTP."""

    def __init__(
        self,
        on_websocket: Callable[[Websocket], Awaitable[None]],
        on_request: Callable[[HttpRequest], Awaitable[HttpResponse]],
        *,
        features: str = "",
    ) -> None:
        self._on_websocket = on_websocket
        self._on_request = on_request
        self._features = features
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.host, self.port = "127.0.0.1", 0

    async def open(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._accepted, host, port, limit=65536, reuse_address=True)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        """Stop listening and cut every connection; `open` may follow."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            writer.transport.abort()  # cancelled by close(): asyncio.Server would report a raised cancellation as an error
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
        request_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        method, path = (*request_line.split(" "), "", "")[:2]
        if headers.get("upgrade", "").lower() == "websocket" and path.split("?")[0].rstrip("/").endswith("/spreed"):
            websocket = Websocket(reader, writer, self._features)
            if websocket.accept(head):
                await self._own(websocket)
            return
        length = int(headers["content-length"]) if headers.get("content-length", "").isdigit() else 0
        if length > _MAX_BODY:
            response = HttpResponse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            async with asyncio.timeout(10):
                body = await reader.readexactly(length)
            response = await self._on_request(HttpRequest(method, path.split("?")[0], headers, body))
        phrase = HTTPStatus(response.status).phrase
        head_lines = [f"HTTP/1.1 {response.status} {phrase}", f"Content-Type: {response.content_type}", "Connection: close"]
        head_lines += [f"Content-Length: {len(response.body)}", "X-Content-Type-Options: nosniff", "", ""]
        writer.write("\r\n".join(head_lines).encode() + response.body)
        await writer.drain()

    async def _own(self, websocket: Websocket) -> None:
        async def keep_alive() -> None:
            while True:
                websocket.ping()
                await asyncio.sleep(PING_S)

        async with asyncio.TaskGroup() as tasks:
            pinging = tasks.create_task(keep_alive())
            try:
                await self._on_websocket(websocket)
            finally:
                pinging.cancel()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A server that records every request and always answers the same: with a redirect, or with 404."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Stranger:
    """`requests`: heads of the requests that have arrived, in lower case."""

    def __init__(self, status: int, location: str) -> None:
        self.requests: list[str] = []
        self.host = ""
        self._status = status
        self._location = location

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.decode("latin-1").lower())
            where = f"Location: {self._location}\r\n" if self._location else ""
            writer.write(
                f"HTTP/1.1 {self._status} No\r\n{where}Content-Length: 0\r\nConnection: close\r\n\r\n".encode("latin-1")
            )
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def stranger(*, status: int = 404, location: str = "", tls: ssl.SSLContext | None = None) -> AsyncIterator[Stranger]:
    found = Stranger(status, location)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        found.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield found

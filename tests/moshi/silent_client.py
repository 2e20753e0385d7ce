# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A client of moshi-server that answers nothing, not even pings."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Silence:
    """What came after Ready, and when, in seconds since Ready. `rest`: what came after the first two octets, to the end."""

    first: bytes
    first_s: float
    rest: bytes
    end_s: float


async def silent_session(address: str) -> Silence:
    """A session on `host:port` until the server ends it."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    clock = asyncio.get_running_loop().time
    try:
        lines = ["GET /api/asr-streaming HTTP/1.1", f"Host: {address}", "Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "kyutai-api-key: public_token"]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await reader.readuntil(b"\r\n\r\n")
        ready = await reader.readexactly(2)
        await reader.readexactly(ready[1])
        began = clock()
        first = await reader.readexactly(2)
        first_s = clock() - began
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            rest = await reader.read()
        return Silence(first, first_s, rest, clock() - began)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

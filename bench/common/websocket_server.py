# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A WebSocket server on loopback that receives audio, without compression and without its own pings."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

OnRequest = Callable[[ServerConnection, Request], Response | None]


@contextlib.asynccontextmanager
async def websocket_server(
    converse: Callable[[ServerConnection], Awaitable[None]], *, port: int = 0, on_request: OnRequest | None = None
) -> AsyncIterator[str]:
    """Its address, without a path; `converse` with everybody who connects. `on_request`: answers what is no WebSocket."""

    async def handle(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await converse(connection)

    async with serve(
        handle, "127.0.0.1", port, compression=None, max_size=2**22, process_request=on_request, ping_interval=None
    ) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"

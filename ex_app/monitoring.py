# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A separate listener for monitoring (`LT_METRICS_LISTEN`), with `/metrics` and `/healthz` only.

Behind HaRP the app listens on a unix socket that the tunnel uses, so no monitoring server reaches it otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ex_app.auth import has_token
from ex_app.http_protocol import connection_config
from ex_app.identity import Listen
from ex_app.listener import listening_sockets
from ex_app.responses import error_answer
from live_transcription.types import Secret

logger = logging.getLogger(__name__)

PATHS = frozenset({"/metrics", "/healthz"})
#: Limit of concurrent connections, beside those of the app's own port.
MAX_CONNECTIONS = 16
#: Seconds until an address that could not be used is tried again.
RETRY_S = 60.0


class MonitoringOnly:
    """ASGI app in front of the whole one. It passes on `GET /metrics` and `GET /healthz`, and answers 404 to everything else.

    With a token, only requests that have it get numbers, also from this machine. Without one, all do.
    """

    def __init__(self, app: ASGIApp, token: Callable[[], Secret]) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] not in PATHS or scope["method"] != "GET":
            await error_answer(404, "Not Found")(scope, receive, send)
            return
        token = self._token()
        reads_numbers = not token or has_token(Headers(scope=scope), token)
        # Without the client's address, which would give numbers to a proxy on this machine.
        scope = {**scope, "client": None, "state": {"reads_numbers": reads_numbers}}
        await self._app(scope, receive, send)


class MonitoringListener:
    """Serves `MonitoringOnly` on a separate address. If the address cannot be used, that is logged once."""

    def __init__(
        self,
        app: ASGIApp,
        listen: Listen,
        token: Callable[[], Secret],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = MonitoringOnly(app, token)
        self._listen = listen
        self._sleep = sleep
        self._reported = False

    async def run(self) -> None:
        """Serve until cancelled. Calls continue without the listener while its address cannot be used."""
        while True:
            try:
                await self._serve()
            except OSError as error:
                self._report(error)
            await self._sleep(RETRY_S)

    async def _serve(self) -> None:
        # In a thread, since a host name may have to be resolved.
        sockets = await asyncio.to_thread(listening_sockets, self._listen)
        server = _Server(connection_config(self._app, MAX_CONNECTIONS, lifespan="off"))
        try:
            await server.serve(sockets)
        finally:
            server.close(sockets)

    def _report(self, error: OSError) -> None:
        if not self._reported:
            self._reported = True
            host = f"[{self._listen.host}]" if ":" in self._listen.host else self._listen.host
            logger.error(
                "The metrics are not served on %s:%s (LT_METRICS_LISTEN): %s. Calls are not affected. The app tries again each "
                "minute.",
                host,
                self._listen.port,
                error.strerror or error,
                extra={"setting": "LT_METRICS_LISTEN"},
            )


class _Server(uvicorn.Server):
    """Leaves signals to the server of the app's own port, and closes its sockets when it is cancelled."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def close(self, sockets: list[socket.socket]) -> None:
        for server in getattr(self, "servers", ()):
            server.close()
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        for each in sockets:
            each.close()

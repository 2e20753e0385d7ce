# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The HTTP server: uvicorn on the port or unix socket that AppAPI expects, and the end of the process.

The first SIGTERM or SIGINT ends the calls, which deliver their last words while requests finish. This takes at most the
service's `SHUTDOWN_S`, since Docker kills the process after 10 s. A second signal ends the rest at once. Both exit with code 0.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from types import FrameType
from typing import Protocol

import uvicorn
from fastapi import FastAPI

from ex_app.administration import SELFTEST_ROUTE
from ex_app.http_protocol import ConnectionConfig, connection_config
from ex_app.identity import Listen
from ex_app.listener import listening_sockets, log_shortages
from ex_app.routes.administration import SELFTEST_S

logger = logging.getLogger(__name__)

#: Seconds to wait for busy threads when everything else has ended, for example for a name server.
THREADS_S = 1.0


class Calls(Protocol):
    """The calls, which end before the server. `grace_s`: seconds for last words; None for the default."""

    async def leave_all(self, grace_s: float | None = None) -> None: ...


class Server(uvicorn.Server):
    """Ends the calls while requests finish."""

    def __init__(self, config: ConnectionConfig, calls: Calls, listen: Listen) -> None:
        super().__init__(config)
        self._calls = calls
        self._listen = listen
        self._loop: asyncio.AbstractEventLoop | None = None
        self._second_signal = asyncio.Event()
        self._is_whole_process = False

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then end the process. Raises OSError if the address is in use."""
        self._is_whole_process = True
        super().run(listening_sockets(self._listen) if sockets is None else sockets)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        log_shortages(self._loop)
        await super().serve(sockets)
        if self._is_whole_process:
            _end_without_threads()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Handle a signal. Unlike uvicorn, do not raise it again after the shutdown, which would end the process by it."""
        if self.should_exit and self._loop is not None:
            self._loop.call_soon_threadsafe(self._second_signal.set)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leave_all())
            await super().shutdown(sockets)

    async def _leave_all(self) -> None:
        leaving = asyncio.ensure_future(self._calls.leave_all())
        second_signal = asyncio.ensure_future(self._second_signal.wait())
        try:
            await asyncio.wait([leaving, second_signal], return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                leaving.result()
            else:
                logger.warning("Received a second signal: the calls end without their last words")
                leaving.cancel()
                await self._calls.leave_all(0.0)
        except Exception:  # continue the shutdown
            logger.exception("The calls did not end cleanly")
        finally:
            second_signal.cancel()
            leaving.cancel()


def server_of(app: FastAPI, listen: Listen, calls: Calls, *, max_connections: int = ConnectionConfig.max_connections) -> Server:
    """`max_connections`: limit of concurrent HTTP connections."""
    config = connection_config(app, max_connections)
    config.answer_s = {SELFTEST_ROUTE: SELFTEST_S}
    return Server(config, calls, listen)


def _end_without_threads() -> None:
    """End the process even if a thread does not end: nothing else runs, and Python would wait for the thread."""
    timer = threading.Timer(THREADS_S, os._exit, [0])
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:  # no memory for another thread
        logger.debug("The process waits for all threads to end")

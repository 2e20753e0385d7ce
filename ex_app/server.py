# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The HTTP server: uvicorn on the port or the unix socket that AppAPI expects, with a shutdown that is done in two seconds."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Protocol

import uvicorn
from fastapi import FastAPI

from ex_app.settings import Listen

logger = logging.getLogger(__name__)

#: Requests under way at shutdown get this long, in seconds; the calls say goodbye meanwhile.
DRAIN_S = 1


class Calls(Protocol):
    """What has to end before the server does."""

    async def leave_all(self) -> None: ...


class Server(uvicorn.Server):
    """Lets the calls end while requests drain."""

    def __init__(self, config: uvicorn.Config, calls: Calls) -> None:
        super().__init__(config)
        self._calls = calls

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leave_all())
            await super().shutdown(sockets)

    async def _leave_all(self) -> None:
        try:
            await self._calls.leave_all()
        except Exception:  # the shutdown goes on
            logger.exception("The calls did not end cleanly")


def server_of(app: FastAPI, listen: Listen, calls: Calls) -> Server:
    config = uvicorn.Config(
        app,
        host=listen.host,
        port=listen.port,
        uds=None if listen.unix_socket is None else str(listen.unix_socket),
        log_config=None,
        access_log=False,
        server_header=False,
        # Peers are judged by their own address, never by what they say.
        proxy_headers=False,
        ws="none",
        loop="live_transcription.event_loop:new_event_loop",
        lifespan="on",
        timeout_graceful_shutdown=DRAIN_S,
    )
    return Server(config, calls)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""HTTP connections of uvicorn, with deadlines and a maximum number.

uvicorn closes connections that are idle between two requests (`timeout_keep_alive`), but waits forever for the rest of a
request. Each connection takes a file descriptor, so strangers who never finish their requests would use up those that calls
need. Here every phase of a connection has a deadline. If there are too many connections, a new one replaces the slowest one, so
a peer that sends its request at once is served, however many others are slow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from ex_app.listener import BACKLOG
from ex_app.responses import connections_cut
from live_transcription.observability.log_limit import LogLimit

logger = logging.getLogger(__name__)

#: Seconds from the start of a connection, or from the first octet of a later request, to the end of the head.
HEAD_S = 5.0
#: Seconds from the end of a request's head to the end of its body; at most 64 KiB are read.
BODY_S = 10.0
#: Seconds for an answer, including the time in which the peer reads it; AppAPI waits 60 s for `/enabled`.
ANSWER_S = 120.0
#: Seconds for the peer to read the rest of an answer after which the app closes the connection.
CLOSE_S = 5.0

#: Seconds for running requests to finish at shutdown, while the calls end.
DRAIN_S = 1
#: Seconds after which an idle connection is closed.
IDLE_S = 5

_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 21\r\nConnection: close\r\n\r\nToo many connections."
)
_log_limit = LogLimit(60.0, time.monotonic)


class ConnectionConfig(uvicorn.Config):
    """uvicorn's configuration, and `max_connections`: the limit of concurrent HTTP connections.

    `answer_s`: seconds for the answers to some paths, instead of `ANSWER_S`.
    """

    max_connections: int = 256
    answer_s: Mapping[str, float] = MappingProxyType({})


class _Phase(Enum):
    """What a connection waits for: why it is closed when the deadline passes, and the deadline in seconds.

    uvicorn's own timer ends idle connections.
    """

    HEAD = ("the request's head did not arrive in time.", HEAD_S)
    BODY = ("the request's body did not arrive in time.", BODY_S)
    ANSWER = ("the request took too long.", ANSWER_S)
    IDLE = ("", None)
    CLOSE = ("the peer did not read the answer in time.", CLOSE_S)


class BoundedProtocol(H11Protocol):
    """`uvicorn.Config(http=…)`; `config` must be a `ConnectionConfig`."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(config, ConnectionConfig)
        self._max_connections = config.max_connections
        self._answer_s = config.answer_s
        self._phase = _Phase.HEAD
        #: When the connection entered its phase, in the loop's time.
        self.waiting_since = 0.0
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def waits_for_peer(self) -> bool:
        """Whether the app waits for the peer, so that closing the connection interrupts no request."""
        return self._phase is not _Phase.ANSWER

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._enter(_Phase.HEAD)
        if len(self.connections) > self._max_connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._follow(again=True)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._follow()

    def cut(self, reason: str, text: str) -> None:
        """Close at once, even if the peer has not read everything. `reason`: for metrics; `text`: for the log."""
        connections_cut.labels(reason).inc()
        if (left_out := _log_limit.permit(reason)) is not None:
            logger.warning("Closed an HTTP connection: %s", text, extra={"reason": reason, "left_out": left_out})
        self.connections.discard(self)
        self.transport.abort()

    def _follow(self, *, again: bool = False) -> None:
        """Update the phase. `again`: another request begins, so the deadline restarts even if the phase is the same."""
        phase = self._phase_now()
        if phase is not self._phase or again:
            self._enter(phase)

    def _phase_now(self) -> _Phase:
        if self.transport.is_closing():
            return _Phase.CLOSE
        if self.conn.their_state is h11.SEND_BODY:
            return _Phase.BODY
        if self.cycle is not None and not self.cycle.response_complete:
            return _Phase.ANSWER
        return _Phase.HEAD if self.timeout_keep_alive_task is None else _Phase.IDLE

    def _enter(self, phase: _Phase) -> None:
        self._phase, self.waiting_since = phase, self.loop.time()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        text, deadline_s = phase.value
        if phase is _Phase.ANSWER:
            deadline_s = self._answer_s.get(self.scope["path"], deadline_s)
        if deadline_s is not None:
            self._deadline = self.loop.call_later(deadline_s, self.cut, phase.name.lower(), text)

    def _make_room(self) -> None:
        others = [each for each in self.connections if isinstance(each, BoundedProtocol) and each is not self]
        if waiting := [each for each in others if each.waits_for_peer]:
            slowest = min(waiting, key=lambda each: each.waiting_since)
            slowest.cut("crowded", "there are too many connections, and this one was the slowest.")
        else:
            self.transport.write(_UNAVAILABLE)
            self.cut_after_answer()

    def cut_after_answer(self) -> None:
        """Read no further request, and close once the answer is sent."""
        connections_cut.labels("busy").inc()
        self.connections.discard(self)
        self.transport.pause_reading()
        self.transport.close()
        self._enter(_Phase.CLOSE)


def connection_config(app: ASGIApp, max_connections: int, *, lifespan: Literal["on", "off"] = "on") -> ConnectionConfig:
    """uvicorn's configuration of a server whose connections have deadlines. `lifespan`: whether it runs that of `app`."""
    config = ConnectionConfig(
        app,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        # A peer's address is that of its connection, never one from a header.
        proxy_headers=False,
        ws="none",
        loop="live_transcription.runtime.threads:new_event_loop",
        lifespan=lifespan,
        backlog=BACKLOG,
        # Requests whose peers have gone run on for a moment without a connection, so they are counted separately.
        limit_concurrency=max_connections + 1,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    config.max_connections = max_connections
    return config

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Shared parts of the two stand-ins: a loopback port, the model loop, faults, outages, and a record of each session.

`/admin/…` on the same port lets another process do what Python does here (all by GET, arguments in the query):

    /admin/state                             sessions, active faults
    /admin/fault?kind=cut&after_s=3&times=1  add a fault (the fields of `faults.Fault`)
    /admin/clear                             remove all faults
    /admin/outage?seconds=10                 refuse connections and cut the open ones for so long
    /admin/cold                              Modal: scale to zero, so that the next session finds a cold start
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from live_transcription.types import SAMPLE_RATE
from sandbox.stt_servers.faults import Fault, FaultKind, Faults, SessionFaults
from sandbox.stt_servers.model import Model

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class SessionRecord:
    """One session as the server saw it; times of the event loop's clock. `ended_by` is empty while it is open."""

    opened_at: float
    headers: Mapping[str, str] = field(repr=False)
    samples: int = 0
    messages: int = 0
    words: int = 0
    closed_at: float | None = None
    ended_by: str = ""

    @property
    def audio_s(self) -> float:
        return self.samples / SAMPLE_RATE

    def open_s(self, now: float) -> float:
        """Seconds that the socket was open, which is what a GPU is billed for."""
        return (self.closed_at if self.closed_at is not None else now) - self.opened_at


class StandIn(ABC):
    """`async with` serves until the block ends. `port` 0 takes a free one and keeps it."""

    name: str
    #: Largest message in bytes that is taken, and the largest frame where that is less.
    max_message: int | tuple[int, int]
    connection_type: type[ServerConnection] = ServerConnection

    def __init__(self, model: Model, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.model = model
        self.faults = Faults()
        self.sessions: list[SessionRecord] = []
        self.host = host
        self.port = port
        self._server: Server | None = None
        self._model_task: asyncio.Task[None] | None = None
        self._outages: set[asyncio.Task[None]] = set()
        self._connections: set[ServerConnection] = set()

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    @abstractmethod
    def stream_url(self) -> str:
        """Where a client streams to."""

    @property
    def open_sessions(self) -> int:
        return sum(session.closed_at is None for session in self.sessions)

    @abstractmethod
    async def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The HTTP answer to a request, or None to go on with the WebSocket handshake."""

    @abstractmethod
    async def converse(self, connection: ServerConnection, record: SessionRecord, faults: SessionFaults) -> str:
        """One session until it ends; returns what ended it. The socket is closed afterwards with 1000, unless it is already."""

    def scale_to_zero(self) -> None:
        """Modal's stand-in overrides it."""
        return

    async def __aenter__(self) -> Self:
        await self._listen()
        self._model_task = asyncio.create_task(self.model.run(), name=f"{self.name}-model")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for outage in self._outages:
            outage.cancel()
        await asyncio.gather(*self._outages, return_exceptions=True)
        await self._hang_up()
        if self._model_task is not None:
            self._model_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._model_task

    @contextlib.asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Inside the block all connections are cut and new ones refused. A model that died lives again after it."""
        await self._hang_up()
        try:
            yield
        finally:
            if not self.model.alive:
                self.model.restart()
            await self._listen()

    def begin_outage(self, seconds: float) -> None:
        """The same for a while, without waiting for it."""

        async def run() -> None:
            async with self.outage():
                await asyncio.sleep(seconds)

        task = asyncio.create_task(run(), name=f"{self.name}-outage")
        self._outages.add(task)
        task.add_done_callback(self._outages.discard)

    async def _listen(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._server = await serve(
            self._handle,
            sock=listener,
            process_request=self._process_request,
            compression=None,
            open_timeout=None,
            ping_interval=None,
            close_timeout=2,
            max_size=self.max_message,
            max_queue=64,
            create_connection=self.connection_type,
        )

    async def _hang_up(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close(close_connections=False)
        for connection in tuple(self._connections):
            connection.transport.abort()
        await server.wait_closed()

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        self._connections.add(connection)
        connection.connection_lost_waiter.add_done_callback(lambda _: self._connections.discard(connection))
        parts = urlsplit(request.path)
        if parts.path.startswith("/admin/"):
            return self._admin(parts.path.removeprefix("/admin/"), dict(parse_qsl(parts.query)))
        fault = self.faults.take_handshake()
        if fault is not None and fault.kind is FaultKind.HANG:
            if not await self.pause(connection, fault.duration_s):
                return plain(503, "gone")
        elif fault is not None:
            return self._refusal(fault, parts.path)
        return await self.answer(connection, request)

    async def pause(self, connection: ServerConnection, seconds: float) -> bool:
        """Let a handshake hang; False if the client has gone meanwhile."""
        done, _ = await asyncio.wait([connection.connection_lost_waiter], timeout=seconds)
        return not done

    def _refusal(self, fault: Fault, path: str) -> Response:
        if fault.kind is FaultKind.UNAUTHORIZED:
            return self.unauthorized()
        if fault.kind is FaultKind.REDIRECT:
            return redirect(f"{self.http_url}{path}?__modal_function_call_id=fc-stand-in")
        return plain(fault.status, f"HTTP {fault.status} by request")

    def unauthorized(self) -> Response:
        return plain(401, "unauthorized")

    async def _handle(self, connection: ServerConnection) -> None:
        loop = asyncio.get_running_loop()
        headers = dict(connection.request.headers.raw_items()) if connection.request is not None else {}
        record = SessionRecord(loop.time(), headers)
        self.sessions.append(record)
        try:
            record.ended_by = await self.converse(connection, record, self.faults.take_session())
        except ConnectionClosed:
            record.ended_by = "client"
        finally:
            record.closed_at = loop.time()
            record.ended_by = record.ended_by or "stopped"
        logger.info(
            "session ended by %s after %.1f s: %.1f s of audio, %d words",
            record.ended_by,
            record.open_s(record.closed_at),
            record.audio_s,
            record.words,
        )

    def _admin(self, verb: str, query: dict[str, str]) -> Response:
        try:
            match verb:
                case "fault":
                    self.faults.add(fault_of(query))
                case "clear":
                    self.faults.clear()
                case "outage":
                    self.begin_outage(float(query["seconds"]))
                case "cold":
                    self.scale_to_zero()
                case "state":
                    pass
                case _:
                    return plain(404, f"unknown: {verb}")
        except (KeyError, ValueError) as error:
            return plain(400, f"{type(error).__name__}: {error}")
        return as_json(self._state())

    def _state(self) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        return {
            "stand_in": self.name,
            "open_sessions": self.open_sessions,
            "faults": [{"kind": fault.kind.value, "times": fault.times, "hits": fault.hits} for fault in self.faults.active],
            "sessions": [
                {
                    "audio_s": round(session.audio_s, 3),
                    "open_s": round(session.open_s(now), 3),
                    "words": session.words,
                    "ended_by": session.ended_by,
                }
                for session in self.sessions
            ],
        }


def fault_of(fields: Mapping[str, str]) -> Fault:
    """A fault out of text fields. Raises KeyError without `kind`, ValueError for what is no number or kind."""
    times = fields.get("times", "1")
    return Fault(
        FaultKind(fields["kind"]),
        times=None if times in {"", "none", "always"} else int(times),
        after_s=float(fields.get("after_s", "0")),
        duration_s=float(fields.get("duration_s", "3600")),
        status=int(fields.get("status", "503")),
    )


def plain(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return _response(status, text.encode(), {"Content-Type": "text/plain; charset=utf-8", **(headers or {})})


def redirect(location: str) -> Response:
    return plain(303, "", {"Location": location})


def as_json(value: object) -> Response:
    return _response(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _response(status: int, body: bytes, headers: Mapping[str, str]) -> Response:
    all_headers = Headers({**headers, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, "Stand-in", all_headers, body)

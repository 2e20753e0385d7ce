# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A client's websocket to the HPB: hello, resume, room, requests; it reconnects whenever it breaks (HPB API, v1)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from live_transcription.runtime.redirects import RefusingConnect
from live_transcription.runtime.tls import client_context

logger = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S = 12.0
_RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_QUEUE = 256


class SignalingError(Exception):
    """The HPB refused a request; `code` as it gave it."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Connection:
    """`auth(version)` makes the `auth` of a fresh hello: 2.0, or 1.0 for servers without it. `session_id` is ours as
    long as one session lives, "" before.

    `run()` keeps the connection until `leave()`. After each new session (not after a resume) `on_session` is called with it
    and may send requests. What the server says goes to `on_message` (`data` of a message and its sender) and `on_event`,
    what it refused of our messages to `on_refused`.
    """

    def __init__(
        self,
        url: str,
        auth: Callable[[str], Awaitable[dict[str, Any]]],
        *,
        features: list[str],
        on_message: Callable[[str, dict[str, Any]], None],
        on_event: Callable[[dict[str, Any]], None],
        on_refused: Callable[[SignalingError], None],
    ) -> None:
        self.url = url
        #: False: any certificate will do.
        self.verify = True
        self.session_id = ""
        self.server_features: frozenset[str] = frozenset()
        self.server_version = ""
        #: Sessions and resumes so far.
        self.sessions = 0
        self.resumes = 0
        #: Why there is no connection, where that is so.
        self.trouble: Exception | None = None
        self._auth = auth
        self._features = features
        self._on_message = on_message
        self._on_event = on_event
        self._on_refused = on_refused
        self._resume_id = ""
        self._socket: ClientConnection | None = None
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._ids = count(1)
        self._leaving = False

    @property
    def connected(self) -> bool:
        return self._socket is not None

    async def run(self, on_session: Callable[[], Any]) -> None:
        """Raises SignalingError if the server refuses the hello or what `on_session` asks."""
        attempt = 0
        while not self._leaving:
            try:
                tls = await client_context(verify=self.verify) if self.url.startswith("wss:") else None
                async with RefusingConnect(
                    self.url, proxy=None, compression=None, max_queue=_QUEUE, close_timeout=1, ssl=tls
                ) as socket:
                    self._socket, self.trouble = socket, None
                    reading = asyncio.create_task(self._read(socket), name="caller-read")
                    try:
                        await self._establish(on_session)
                        attempt = 0
                        await reading
                    finally:
                        reading.cancel()
                        await asyncio.gather(reading, return_exceptions=True)
            except (OSError, WebSocketException, TimeoutError, ConnectionError) as error:
                if not self._leaving:
                    self.trouble = error
                    logger.debug("caller: connection lost: %s", error)
            finally:
                self._socket = None
                self._drop_waiting()
            if not self._leaving:
                await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
                attempt += 1

    async def send(self, message: dict[str, Any]) -> None:
        """Raises ConnectionError while there is no connection."""
        if self._socket is None:
            raise ConnectionError("not connected")
        await self._socket.send(json.dumps(message))

    async def send_octets(self, frame: bytes) -> None:
        """A text frame of any octets, JSON or not, UTF-8 or not. Raises ConnectionError while there is no connection."""
        if self._socket is None:
            raise ConnectionError("not connected")
        await self._socket.send(frame, text=True)

    async def request(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer with the same id. Raises SignalingError, ConnectionError, TimeoutError."""
        identity = str(next(self._ids))
        answer = self._waiting[identity] = asyncio.get_running_loop().create_future()
        try:
            await self.send({"id": identity, **message})
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                answered: dict[str, Any] = await answer
                return answered
        finally:
            self._waiting.pop(identity, None)

    async def say(self, recipient: str, content: dict[str, Any]) -> None:
        """A message to one session."""
        message = {"recipient": {"type": "session", "sessionid": recipient}, "data": content}
        await self.send({"id": str(next(self._ids)), "type": "message", "message": message})

    async def leave(self, *, bye: bool = True) -> None:
        """Ends `run()`. Without `bye` the socket just breaks, and the server keeps the session for its 30 s."""
        self._leaving = True
        await self._drop(bye=bye)

    async def start_over(self) -> None:
        """Says bye and comes back as another session, as Talk's web client does when its media broke."""
        self.forget()
        await self._drop(bye=True)

    def forget(self) -> None:
        """The next connection is a new session."""
        self._resume_id = ""

    def cut(self) -> None:
        """Breaks the socket; the session is resumed."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def _drop(self, *, bye: bool) -> None:
        socket = self._socket
        if socket is None:
            return
        if not bye:
            socket.transport.abort()
            return
        with contextlib.suppress(OSError, WebSocketException, TimeoutError, SignalingError):
            await self.request({"type": "bye", "bye": {}})
        await socket.close()

    async def _establish(self, on_session: Callable[[], Any]) -> None:
        if self._resume_id:
            try:
                answer = await self.request({"type": "hello", "hello": {"version": "2.0", "resumeid": self._resume_id}})
            except SignalingError as error:
                if error.code != "no_such_session":
                    raise
                self._resume_id = ""
            else:
                self._resume_id = answer["hello"]["resumeid"]
                self.resumes += 1
                return
        try:
            answer = await self._hello("2.0")
        except SignalingError as error:
            if error.code != "invalid_hello_version":
                raise
            answer = await self._hello("1.0")
        self.session_id, self._resume_id = answer["sessionid"], answer["resumeid"]
        self.server_features = frozenset(answer.get("server", {}).get("features", ()))
        self.server_version = answer.get("server", {}).get("version", "")
        self.sessions += 1
        await on_session()

    async def _hello(self, version: str) -> dict[str, Any]:
        hello = {"version": version, "features": self._features, "auth": await self._auth(version)}
        return dict((await self.request({"type": "hello", "hello": hello}))["hello"])

    async def _read(self, socket: ClientConnection) -> None:
        async for frame in socket:
            self._take(json.loads(frame))
        raise ConnectionError("the server closed the connection")

    def _take(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        waiting = self._waiting.get(message.get("id", ""))
        if kind == "error":
            error = message.get("error", {})
            refused = SignalingError(error.get("code", ""), error.get("message", ""))
            if waiting is not None and not waiting.done():
                waiting.set_exception(refused)
            else:
                self._on_refused(refused)
        elif waiting is not None:
            if not waiting.done():
                waiting.set_result(message)
        elif kind == "message":
            sender = message["message"].get("sender", {}).get("sessionid", "")
            self._on_message(sender, message["message"].get("data") or {})
        elif kind == "event":
            self._on_event(message["event"])

    def _drop_waiting(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the connection broke"))
                waiting.exception()
        self._waiting.clear()

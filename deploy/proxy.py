# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The proxy's ASGI app: `GET /health`, `GET /`, and the WebSocket `/v1/stream` (its messages: `deploy.session`).

Credentials are no matter of this app: Modal checks its proxy auth tokens before a request gets here.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from deploy.moshi_config import API_KEY, PATH
from deploy.session import CAPACITY, CLIENT_GONE, MODEL_LOST, TOO_SLOW, Close, Effects, ProxySession, error, is_full, unpacked

logger = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

STREAM_PATH = "/v1/stream"

#: Seconds that a client may leave messages unread.
_SEND_S = 20.0
#: Seconds for the model server's `Ready`, in a session and for `/health`.
_READY_S = 10.0
_HEALTH_S = 5.0
#: Seconds in which a full model server may free the slot of a session that has just ended, and between two attempts.
_FREEING_S = 1.0
_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """`model_server`: `host:port` of moshi-server. `about`: what `/health` tells besides."""

    model_server: str
    idle_s: float = 30.0
    session_limit_s: float = 1770.0
    about: Mapping[str, object] = field(default_factory=dict)


class Proxy:
    """An ASGI application; one for the container."""

    def __init__(self, settings: ProxySettings) -> None:
        self._settings = settings
        self.sessions = 0
        # Sessions of clients that the model server has accepted: as many of its slots are used.
        self._accepted = 0
        self._checking = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope["path"], send)
        elif scope["type"] == "websocket":
            await receive()
            if scope["path"] != STREAM_PATH:
                await send({"type": "websocket.close", "code": 1000})
                return
            await send({"type": "websocket.accept"})
            self.sessions += 1
            try:
                await self._serve(receive, send)
            finally:
                self.sessions -= 1

    async def _answer(self, path: str, send: Send) -> None:
        status, body = 404, {"detail": "Not Found"}
        if path == "/":
            status, body = 200, {"service": "Kyutai STT", "websocket": STREAM_PATH, "health": "/health"}
        elif path == "/health":
            status, body = await self._health()
        content = json.dumps(body).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _health(self) -> tuple[int, dict[str, Any]]:
        """200 if the model server accepts a session or is full, with its slots; otherwise 503 with the reason.

        Its HTTP pages alone prove nothing: they also answer when its model loop is dead.
        """
        try:
            modules = await asyncio.to_thread(modules_info, self._settings.model_server)
            # One at a time, so that many requests take no more than one slot.
            async with self._checking:
                model, _ = await self._open(_HEALTH_S)
            await model.close()
        except _ModelFull:
            pass
        except _ModelUnavailable as failure:
            return 503, {"status": "unavailable", "reason": str(failure), **self._settings.about}
        except OSError as failure:
            state = "unavailable" if isinstance(failure, TimeoutError) else "starting"
            return 503, {"status": state, "reason": "The model server is not reachable.", **self._settings.about}
        slots: dict[str, object] = {
            name: int(module[name]) for module in modules[:1] for name in ("used_slots", "total_slots") if name in module
        }
        return 200, {"status": "ok", "backend": "rust", **self._settings.about, **slots, "sessions": self.sessions}

    async def _serve(self, receive: Receive, send: Send) -> None:
        try:
            model, ready = await self._open(_READY_S)
        except (_ModelFull, _ModelUnavailable) as failure:
            logger.warning("A session could not begin: %s", failure)
            full = isinstance(failure, _ModelFull)
            code, reason = ("capacity", CAPACITY) if full else ("model_unavailable", MODEL_LOST)
            await _close(send, reason, error(code, str(failure)))
            return
        self._accepted += 1
        try:
            close = await _Relay(model, receive, send, self._settings).run(ready)
        finally:
            self._accepted -= 1
            await model.close()
        if close is not None:
            logger.info("Session ended: %d %s", close.code, close.reason or "by the client")
            await _close(send, close)

    async def _open(self, timeout_s: float) -> tuple[ClientConnection, bytes]:
        """A session of the model server, and its `Ready`. Raises _ModelFull, _ModelUnavailable."""
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            model = None
            try:
                async with asyncio.timeout_at(began + timeout_s):
                    model = await connect(
                        f"ws://{self._settings.model_server}{PATH}",
                        additional_headers={"kyutai-api-key": API_KEY},
                        compression=None,
                        proxy=None,
                        open_timeout=None,
                        close_timeout=1,
                        ping_interval=None,
                        max_size=2**20,
                    )
                    first = await model.recv(decode=False)
                    message = unpacked(first)
                    if message.get("type") == "Ready":
                        accepted, model = model, None
                        return accepted, first
            except TimeoutError:
                raise _ModelUnavailable(f"The model server accepts no session within {timeout_s:g} s.") from None
            except (OSError, WebSocketException) as failure:
                raise _ModelUnavailable(f"The model server cannot be reached ({type(failure).__name__}).") from None
            finally:
                if model is not None:
                    await model.close()
            said = str(message.get("message", ""))[:200]
            if not is_full(said):
                raise _ModelUnavailable(f"The model server refuses the session: {said or 'no reason given'}")
            if clock() > began + _FREEING_S:
                break
            # The slot of a session that has just ended is freed a moment later.
            await asyncio.sleep(_AGAIN_S)
        if self._accepted < await asyncio.to_thread(_total_slots, self._settings.model_server):
            # A dead model loop frees no slot, so that its server calls itself full.
            raise _ModelUnavailable("The model server does not free its slots: its model loop is dead.")
        raise _ModelFull("The model server has no free slot.")


class _ModelFull(Exception):
    """All slots of the model server are used by sessions of clients."""


class _ModelUnavailable(Exception):
    """The model server accepts no session. The message says why."""


class _Relay:
    """Both directions of one session, and its deadlines. `run` gives the close to send, None if the client has gone."""

    def __init__(self, model: ClientConnection, receive: Receive, send: Send, settings: ProxySettings) -> None:
        self._clock = asyncio.get_running_loop().time
        self._model = model
        self._receive = receive
        self._send = send
        self._session = ProxySession(self._clock(), idle_s=settings.idle_s, session_limit_s=settings.session_limit_s)
        self._stepped = asyncio.Event()
        self._moved = asyncio.Event()
        self._sending = asyncio.Lock()

    async def run(self, ready: bytes) -> Close | None:
        """`ready`: the model server's first message."""
        close = await self._carry_out(self._session.from_model(ready, self._clock()))
        if close is not None:
            return close
        tasks = [asyncio.create_task(work) for work in (self._from_client(), self._from_model(), self._watch_time())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return next(task for task in tasks if task in done).result()

    async def _from_client(self) -> Close | None:
        while True:
            while self._session.backlogged:
                self._stepped.clear()
                await self._stepped.wait()
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return None
            data, text = message.get("bytes"), message.get("text")
            if data is not None:
                effects = self._session.audio(data, self._clock())
            else:
                effects = self._session.text(text or "", self._clock())
            close = await self._carry_out(effects)
            if close is not None:
                return close

    async def _from_model(self) -> Close | None:
        while True:
            try:
                data = await self._model.recv()
            except ConnectionClosed:
                return await self._carry_out(self._session.model_closed(self._clock()))
            if isinstance(data, bytes):
                close = await self._carry_out(self._session.from_model(data, self._clock()))
                self._stepped.set()
                if close is not None:
                    return close

    async def _watch_time(self) -> Close | None:
        while True:
            self._moved.clear()
            try:
                async with asyncio.timeout_at(self._session.next_deadline()):
                    await self._moved.wait()
            except TimeoutError:
                close = await self._carry_out(self._session.tick(self._clock()))
                if close is not None:
                    return close

    async def _carry_out(self, effects: Effects) -> Close | None:
        try:
            for data in effects.to_model:
                await self._model.send(data)
            if effects.to_client:
                async with asyncio.timeout(_SEND_S), self._sending:
                    for text in effects.to_client:
                        await self._send({"type": "websocket.send", "text": text})
        except ConnectionClosed:
            # `_from_model` reads what it had to say, and why it closed.
            await asyncio.sleep(_SEND_S)
            return MODEL_LOST
        except TimeoutError:
            return TOO_SLOW
        except (OSError, RuntimeError):
            return CLIENT_GONE
        self._moved.set()
        return effects.close


def modules_info(model_server: str) -> list[dict[str, str]]:
    """moshi-server's report on its state. Raises OSError while it is not running. Blocking."""
    host, _, port = model_server.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request("GET", "/api/modules_info")
        response = connection.getresponse()
        modules = json.loads(response.read())
    except (http.client.HTTPException, ValueError) as failure:
        raise OSError("the model server answers, but not as moshi-server does") from failure
    finally:
        connection.close()
    if response.status != 200 or not isinstance(modules, list):
        raise OSError("the model server answers, but not as moshi-server does")
    return modules


def _total_slots(model_server: str) -> int:
    """0 if the model server does not report it. Blocking."""
    try:
        return sum(int(module.get("total_slots", 0)) for module in modules_info(model_server)[:1])
    except (OSError, ValueError):
        return 0


async def _close(send: Send, close: Close, reply: str = "") -> None:
    """A client that has gone meanwhile makes no difference."""
    try:
        async with asyncio.timeout(_SEND_S):
            if reply:
                await send({"type": "websocket.send", "text": reply})
            await send({"type": "websocket.close", "code": close.code, "reason": close.reason})
    except (OSError, RuntimeError, TimeoutError):
        logger.info("The client left before the close code was sent: %d", close.code)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A small HPB on a real websocket: hello, resume, room, messages, and faults on demand."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

SECRET = "internal-secret"
FEATURES = ["mcu", "recipient-call", "welcome"]


@dataclass
class StubSession:
    session_id: str
    resume_id: str
    room: str | None = None
    websocket: ServerConnection | None = None


@dataclass
class HpbStub:
    """What it saw, and switches for what it does. `received` holds every frame of every connection in order."""

    server: Server | None = None
    welcome: bool = True
    features: list[str] = field(default_factory=lambda: list(FEATURES))
    answers_hello: bool = True
    answers_room: bool = True
    reads: bool = True
    received: list[dict[str, Any]] = field(default_factory=list)
    sessions: dict[str, StubSession] = field(default_factory=dict)
    connections: list[ServerConnection] = field(default_factory=list)
    ended: list[ServerConnection] = field(default_factory=list)
    refuse_room: str | None = None
    hello_error: str | None = None
    hello_delay_s: float = 0.0

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def frames(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.received if frame.get("type") == kind]

    def full_hellos(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames("hello") if "auth" in frame["hello"]]

    async def cut(self) -> None:
        """Break every TCP connection without a closing handshake."""
        for connection in self.connections:
            connection.transport.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in self.connections))

    def forget_sessions(self) -> None:
        self.sessions.clear()

    async def tell(self, frame: dict[str, Any] | str) -> None:
        """To every session that is connected."""
        text = frame if isinstance(frame, str) else json.dumps(frame)
        for session in list(self.sessions.values()):
            if session.websocket is not None:
                await session.websocket.send(text)

    async def serve_one(self, websocket: ServerConnection) -> None:
        self.connections.append(websocket)
        session: StubSession | None = None
        try:
            if self.welcome:
                await self._send(websocket, {"type": "welcome", "welcome": {"version": "2.0.2", "features": self.features}})
            if not self.reads:
                await websocket.wait_closed()
            async for text in websocket:
                frame = json.loads(text)
                self.received.append(frame)
                match frame["type"]:
                    case "hello":
                        session = await self._hello(websocket, frame) or session
                    case "room" if session is not None:
                        await self._room(websocket, session, frame)
                    case "bye":
                        if session is not None:
                            self.sessions.pop(session.resume_id, None)
                        await self._send(websocket, {"id": frame["id"], "type": "bye", "bye": {}})
                        await websocket.close()
        except ConnectionClosed:
            pass
        finally:
            self.ended.append(websocket)
            if session is not None and session.websocket is websocket:
                session.websocket = None

    async def _hello(self, websocket: ServerConnection, frame: dict[str, Any]) -> StubSession | None:
        if not self.answers_hello:
            return None
        if self.hello_delay_s:
            await asyncio.sleep(self.hello_delay_s)
        hello = frame["hello"]
        if "resumeid" in hello:
            session = self.sessions.get(hello["resumeid"])
            error = "no_such_session"
        else:
            params = hello["auth"]["params"]
            token = hmac.new(SECRET.encode(), params["random"].encode(), hashlib.sha256).hexdigest()
            session, error = None, self.hello_error or "invalid_token"
            if hmac.compare_digest(token, params["token"]) and self.hello_error is None:
                number = len(self.received)
                session = StubSession(f"session-{number}", f"resume-{number}")
                self.sessions[session.resume_id] = session
        if session is None:
            await self._send(websocket, {"id": frame["id"], "type": "error", "error": {"code": error, "message": "no"}})
            return None
        session.websocket = websocket
        body = {
            "version": "2.0",
            "sessionid": session.session_id,
            "resumeid": session.resume_id,
            "server": {"version": "2.0.2", "features": self.features},
        }
        await self._send(websocket, {"id": frame["id"], "type": "hello", "hello": body})
        return session

    async def _room(self, websocket: ServerConnection, session: StubSession, frame: dict[str, Any]) -> None:
        if not self.answers_room:
            return
        if self.refuse_room is not None:
            error = {"code": self.refuse_room, "message": "no"}
        elif session.room is not None:
            error = {"code": "already_joined", "message": "no"}
        else:
            session.room = frame["room"]["roomid"]
            await self._send(websocket, {"id": frame["id"], "type": "room", "room": {"roomid": session.room}})
            return
        await self._send(websocket, {"id": frame["id"], "type": "error", "error": error})

    @staticmethod
    async def _send(websocket: ServerConnection, frame: dict[str, Any]) -> None:
        await websocket.send(json.dumps(frame))


@asynccontextmanager
async def hpb_stub(**switches: Any) -> AsyncIterator[HpbStub]:
    stub = HpbStub(**switches)
    async with serve(stub.serve_one, "127.0.0.1", 0, close_timeout=0.2) as server:
        stub.server = server
        yield stub

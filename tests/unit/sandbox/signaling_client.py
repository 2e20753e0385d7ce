# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A plain websockets client that sends given messages, for tests of the signaling stand-in."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect

from sandbox.hpb import HpbStandIn

INTERNAL_SECRET = "sandbox-internal"
BACKEND = "http://127.0.0.1/"


def internal_auth(secret: str = INTERNAL_SECRET, backend: str = BACKEND) -> dict[str, Any]:
    random = secrets.token_hex(32)
    token = hmac.new(secret.encode(), random.encode(), hashlib.sha256).hexdigest()
    return {"type": "internal", "params": {"random": random, "token": token, "backend": backend}}


class Client:
    """`async with Client(hpb) as client` connects and has read the welcome."""

    def __init__(self, hpb: HpbStandIn) -> None:
        self.hpb = hpb
        self.welcome: dict[str, Any] = {}
        self.session_id = ""
        self.resume_id = ""
        self._socket: ClientConnection | None = None

    @property
    def socket(self) -> ClientConnection:
        assert self._socket is not None
        return self._socket

    async def __aenter__(self) -> Self:
        self._socket = await connect(self.hpb.websocket_url, max_size=2**20)
        self.welcome = (await self.receive())["welcome"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.close()

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            frame = json.loads(await self.socket.recv())
        assert isinstance(frame, dict)
        return frame

    async def expect(self, kind: str) -> Any:
        """The content of the next frame, which has to be of this type."""
        frame = await self.receive()
        assert frame["type"] == kind, frame
        return frame[kind]

    async def until(self, kind: str, what: str = "") -> Any:
        """The content of the next frame of this type (an event's `target/type`, a message's data type); others are dropped."""
        while True:
            frame = await self.receive()
            content = frame.get(kind) if frame["type"] == kind else None
            if content is None:
                continue
            named = f"{content['target']}/{content['type']}" if kind == "event" else content.get("data", {}).get("type", "")
            if not what or named == what:
                return content

    async def silence(self) -> None:
        """Nothing more has come: whatever was sent to us before our own nonsense was answered would have come first."""
        await self.send(type="nonsense-without-answer")
        await self.send(id="silence", type="message", message={"recipient": {"type": "nobody"}, "data": {}})
        frame = await self.receive()
        assert frame.get("id") == "silence", frame

    async def settle(self) -> None:
        """All that we sent has been dealt with; what came meanwhile is dropped."""
        await self.send(id="settled", type="message", message={"recipient": {"type": "nobody"}, "data": {}})
        while (await self.receive()).get("id") != "settled":
            pass

    async def hello(self, auth: dict[str, Any], *, version: str = "2.0", features: tuple[str, ...] = ()) -> dict[str, Any]:
        await self.send(id="hello", type="hello", hello={"version": version, "auth": auth, "features": list(features)})
        frame = await self.receive()
        if frame["type"] == "hello":
            self.session_id, self.resume_id = frame["hello"]["sessionid"], frame["hello"]["resumeid"]
        return frame

    async def hello_internal(self) -> dict[str, Any]:
        return await self.hello(internal_auth(), features=("internal-incall",))

    async def hello_user(self, user: str) -> dict[str, Any]:
        return await self.hello({"url": BACKEND, "params": {"token": user}})

    async def join(self, room: str, room_session: str = "") -> dict[str, Any]:
        content = {"roomid": room, **({"sessionid": room_session} if room_session else {})}
        await self.send(id="join", type="room", room=content)
        return await self.receive()

    async def resume(self, resume_id: str) -> dict[str, Any]:
        await self.send(id="resume", type="hello", hello={"version": "2.0", "resumeid": resume_id})
        return await self.receive()

    async def message(self, recipient: dict[str, Any], data: Any, message_id: str = "m") -> None:
        await self.send(id=message_id, type="message", message={"recipient": recipient, "data": data})

    async def to_session(self, session: str, data: Any, message_id: str = "m") -> None:
        await self.message({"type": "session", "sessionid": session}, data, message_id)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Sessions of clients, which survive their connections."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sandbox.hpb.faults import Faults
from sandbox.hpb.frames import Frame
from sandbox.hpb.websocket_server import Websocket
from sandbox.sfu import Subscriber

IN_CALL, WITH_AUDIO, WITH_PHONE = 1, 2, 8

#: Frames kept for a session without a connection; beyond it the oldest is dropped and counted.
MAX_PENDING = 10_000


class JoinedRoom(Protocol):
    """What a session knows of the room that it has joined; implemented by `room.Room`."""

    token: str
    users: list[Frame]
    in_call: set[str]

    @property
    def sessions(self) -> Mapping[str, Session | VirtualSession]: ...
    def frame(self) -> Frame: ...
    def clients(self) -> Sequence[Session]: ...
    def remove(self, session: Session | VirtualSession) -> None: ...
    def publish_users(self) -> None: ...
    def update_frame(self, users: list[Frame]) -> Frame: ...


class Connection:
    """One websocket of a client; frames are sent in order, delayed by `faults.delay_s` if that is set."""

    def __init__(self, websocket: Websocket, faults: Faults) -> None:
        self.websocket = websocket
        self.session: Session | None = None
        self._faults = faults
        self.hello_deadline: asyncio.TimerHandle | None = None
        self._free_at = 0.0

    def send(self, frame: Frame) -> None:
        self.send_text(json.dumps(frame, separators=(",", ":")))

    def send_text(self, text: str) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._free_at = max(self._free_at, now + self._faults.delay_s)
        if self._free_at <= now:
            self.websocket.send(text)
        else:
            loop.call_at(self._free_at, self.websocket.send, text)


class Session:
    """A client's session. `id` is public, `resume_id` known to the client only, `room_session` is Nextcloud's session id."""

    def __init__(self, kind: str, user_id: str, user: Any, features: frozenset[str]) -> None:
        self.id = secrets.token_urlsafe(48)
        self.resume_id = secrets.token_urlsafe(48)
        self.kind = kind
        self.user_id = user_id
        self.user = user
        self.features = features
        self.in_call = IN_CALL | WITH_AUDIO if kind == "internal" and "internal-incall" not in features else 0
        self.room: JoinedRoom | None = None
        self.room_session = ""
        self.permissions: list[str] | None = None
        self.connection: Connection | None = None
        self.expiry: asyncio.TimerHandle | None = None
        self.subscribers: dict[tuple[str, str], Subscriber] = {}
        self.virtual_sessions: dict[str, VirtualSession] = {}
        self.dropped = 0
        self._pending: deque[Frame] = deque()
        self._seen: set[str] = set()

    @property
    def internal(self) -> bool:
        return self.kind == "internal"

    def may_publish(self, room_type: str, data: Frame) -> bool:
        if self.permissions is None:
            return True
        if room_type == "screen":
            return "publish-screen" in self.permissions
        if "publish-media" in self.permissions:
            return True
        description = str((data.get("payload") or {}).get("sdp", ""))
        wanted = {f"publish-{kind}" for kind in ("audio", "video") if f"m={kind} " in description}
        return wanted <= set(self.permissions)

    def send(self, frame: Frame) -> None:
        """Send a frame to the client now, or when it comes back, without the parts that it has received already."""
        told = self._filtered(frame)
        if told is None:
            return
        if self.connection is not None and self.connection.websocket.open:
            self.connection.send(told)
            return
        self._pending.append(told)
        if len(self._pending) > MAX_PENDING:
            self._pending.popleft()
            self.dropped += 1

    def take_pending(self) -> list[Frame]:
        frames, self._pending = list(self._pending), deque()
        return frames

    def forget_room(self) -> None:
        self.room, self.room_session = None, ""
        self._seen.clear()

    def _filtered(self, frame: Frame) -> Frame | None:
        """As the HPB filters events per session: no join twice, no leave of the unknown, `changed` merged into `users`."""
        content = frame.get("event")
        if not isinstance(content, dict):
            return frame
        what = (content["target"], content["type"])
        if what == ("room", "join"):
            joined = [entry for entry in content["join"] if entry["sessionid"] not in self._seen]
            self._seen.update(entry["sessionid"] for entry in joined)
            return {**frame, "event": {**content, "join": joined}} if joined else None
        if what == ("room", "leave"):
            left = [session_id for session_id in content["leave"] if session_id in self._seen]
            self._seen.difference_update(left)
            return {**frame, "event": {**content, "leave": left}} if left else None
        if what == ("participants", "update") and "changed" in content["update"]:
            update = {key: value for key, value in content["update"].items() if key != "changed"}
            users = list(update.get("users", ()))
            known = {entry.get("sessionId") for entry in users}
            users += [entry for entry in content["update"]["changed"] if entry.get("sessionId") not in known]
            return {**frame, "event": {**content, "update": {**update, "users": users}}}
        return frame


class VirtualSession:
    """A phone participant, added by an internal client (the SIP bridge) that speaks and publishes for it."""

    kind = "virtual"

    def __init__(self, owner: Session, added: Frame) -> None:
        self.id = secrets.token_urlsafe(48)
        self.owner = owner
        self.own_id: str = added["sessionid"]
        self.user_id: str = added.get("userid") or ""
        self.user = added.get("user")
        self.flags = int(added.get("flags") or 0)
        default = 0 if "internal-incall" in owner.features else IN_CALL | WITH_PHONE
        incall = added.get("incall")
        self.in_call = incall if isinstance(incall, int) else default
        self.room: JoinedRoom | None = None

    def entry(self) -> Frame:
        """As in `participants/update`."""
        return {"inCall": self.in_call, "sessionId": self.id, "lastPing": int(time.time()), "virtual": True}

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk's conversations in signaling: rooms, Nextcloud sessions, in-call flags. No I/O."""

from __future__ import annotations

import hashlib
import secrets
import string
import time
from dataclasses import dataclass, field
from typing import Any

#: Talk's in-call flags.
DISCONNECTED, IN_CALL, WITH_AUDIO, WITH_VIDEO, WITH_PHONE = 0, 1, 2, 4, 8

_SESSION_ALPHABET = string.ascii_letters + string.digits + "+/"
_TOKEN_ALPHABET = "abcdefghijkmnopqrstwxyz23456789"
_PERMISSIONS = ["publish-audio", "publish-video", "publish-screen", "control", "transient-data"]
_GROUP_ROOM = 2
#: Talk's types of participants.
OWNER, MODERATOR, USER, GUEST, GUEST_MODERATOR = 1, 2, 3, 4, 6


class NoSuchRoom(LookupError):
    pass


class NoSuchSession(LookupError):
    pass


@dataclass(slots=True)
class TalkSession:
    """One tab of a user in a room; `id` is what `ncSessionId` and `roomsessionid` name. Guests have no `user_id`."""

    id: str
    room_token: str
    user_id: str | None
    display_name: str
    in_call: int = DISCONNECTED
    last_ping: int = 0

    @property
    def actor(self) -> str:
        """Kind and id, as Talk's bots see them."""
        return f"users/{self.user_id}" if self.user_id else f"guests/{hashlib.sha1(self.id.encode()).hexdigest()}"

    def entry(self) -> dict[str, Any]:
        """As in Talk's `incall` and `participants` requests to the HPB, which replaces `sessionId` by its own."""
        entry: dict[str, Any] = {
            "inCall": self.in_call,
            "lastPing": self.last_ping,
            "sessionId": self.id,
            "nextcloudSessionId": self.id,
            "participantType": 3 if self.user_id else 4,
            "participantPermissions": 254,
            "actorType": "users" if self.user_id else "guests",
            "actorId": self.user_id or self.id[:40],
        }
        if self.user_id:
            entry["userId"] = self.user_id
        else:
            entry["displayName"] = self.display_name
        return entry


@dataclass(slots=True)
class Room:
    """`language`: the room's transcription language, None where nobody has set one. `closed`: nobody may join.

    `public`: guests may join; `guests_may_start`: and begin a call. `moderators`: users who may change the language; `owner` is
    one of them. `guest_moderators`: actors of promoted guests. `participants`: users who belong to the conversation. `muted`:
    those of them without the permission to chat.
    """

    token: str
    name: str
    language: str | None = None
    closed: bool = False
    public: bool = True
    guests_may_start: bool = True
    moderators: frozenset[str] = frozenset({"admin"})
    owner: str = "admin"
    guest_moderators: set[str] = field(default_factory=set)
    participants: set[str] = field(default_factory=set)
    muted: set[str] = field(default_factory=set)
    read_only: bool = False
    federated: bool = False
    former_one_to_one: bool = False
    sessions: dict[str, TalkSession] = field(default_factory=dict)

    def participant_type(self, session: TalkSession) -> int:
        if session.user_id is None:
            return GUEST_MODERATOR if session.actor in self.guest_moderators else GUEST
        if session.user_id not in self.moderators:
            return USER
        return OWNER if session.user_id == self.owner else MODERATOR

    @property
    def flags(self) -> int:
        flags = DISCONNECTED
        for session in self.sessions.values():
            flags |= session.in_call
        return flags

    def properties(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": _GROUP_ROOM,
            "lobby-state": 0,
            "lobby-timer": None,
            "read-only": 0,
            "listable": 0,
            "active-since": None,
            "sip-enabled": 0,
            "description": "",
        }

    def join_answer(self) -> dict[str, Any]:
        answer = {"version": "1.0", "roomid": self.token, "properties": self.properties(), "permissions": list(_PERMISSIONS)}
        return {"type": "room", "room": answer}


class Rooms:
    """All rooms by token and all sessions by id."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def create(self, token: str | None = None, *, name: str = "Sandbox call", language: str | None = None) -> Room:
        token = token or "".join(secrets.choice(_TOKEN_ALPHABET) for _ in range(8))
        room = self._rooms[token] = Room(token, name, language)
        return room

    def __getitem__(self, token: str) -> Room:
        try:
            return self._rooms[token]
        except KeyError:
            raise NoSuchRoom(token) from None

    def __contains__(self, token: str) -> bool:
        return token in self._rooms

    def all(self) -> list[Room]:
        return list(self._rooms.values())

    def join(self, token: str, user_id: str | None, display_name: str) -> TalkSession:
        """What `POST …/participants/active` does: a new Nextcloud session (255 characters, as Talk makes them)."""
        room = self[token]
        session_id = "".join(secrets.choice(_SESSION_ALPHABET) for _ in range(255))
        if user_id:
            room.participants.add(user_id)
        session = room.sessions[session_id] = TalkSession(session_id, token, user_id, display_name, last_ping=int(time.time()))
        return session

    def leave(self, session_id: str) -> TalkSession | None:
        """Remove the session; None if it has left already."""
        for room in self._rooms.values():
            if (session := room.sessions.pop(session_id, None)) is not None:
                return session
        return None

    def session(self, session_id: str) -> TalkSession:
        for room in self._rooms.values():
            if (session := room.sessions.get(session_id)) is not None:
                return session
        raise NoSuchSession(f"session {session_id[:8]}…")

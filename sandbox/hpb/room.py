# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A room: its participants, those in its call, and the events that announce them."""

from __future__ import annotations

import time
from typing import Any

from sandbox.hpb.frames import Frame, event
from sandbox.hpb.session import IN_CALL, Session, VirtualSession
from sandbox.hpb.versions import HpbVersion


def says_in_call(value: Any) -> bool | None:
    """Talk's `inCall`, a number or an old-style boolean; None for anything else."""
    if isinstance(value, bool):
        return value
    return bool(int(value) & IN_CALL) if isinstance(value, int | float) else None


class Room:
    """`users`: the entries that Talk sent last; an internal client that joins receives them."""

    def __init__(self, token: str, properties: Any, hpb_version: HpbVersion) -> None:
        self.token = token
        self.properties = properties
        self.users: list[Frame] = []
        self.sessions: dict[str, Session | VirtualSession] = {}
        self.in_call: set[str] = set()
        self._hpb_version = hpb_version

    def frame(self) -> Frame:
        room: Frame = {"roomid": self.token}
        if self._hpb_version.tells_bandwidth:
            room["bandwidth"] = {"maxstreambitrate": 1048576, "maxscreenbitrate": 2097152}
        if self.properties is not None:
            room["properties"] = self.properties
        return room

    def clients(self) -> list[Session]:
        return [session for session in self.sessions.values() if isinstance(session, Session)]

    def publish(self, frame: Frame) -> None:
        for session in self.clients():
            session.send(frame)

    def add(self, session: Session | VirtualSession, user_id: str = "") -> None:
        """Announce the session to all, and all to the session. An internal client also receives the call's participants."""
        self.sessions[session.id] = session
        session.room = self
        entry = self._join_entry(session)
        entry["userid"] = entry["userid"] or user_id
        self.publish(event("room", "join", join=[entry]))
        if isinstance(session, VirtualSession):
            self.publish_users()
            self.publish_flags(session)
            return
        others = [self._join_entry(other) for other in self.sessions.values() if other is not session]
        if others:
            session.send(event("room", "join", join=others))
        for other in self.sessions.values():
            if isinstance(other, VirtualSession) and other.flags:
                session.send(self._flags_event(other))
        if session.internal:
            self.publish_users()

    def remove(self, session: Session | VirtualSession) -> None:
        """Tell those who stay. Talk's entries stay as they are until Talk sends others."""
        if self.sessions.pop(session.id, None) is None:
            return
        self.in_call.discard(session.id)
        if isinstance(session, VirtualSession):
            self.users = [entry for entry in self.users if entry.get("sessionId") != session.id]
        self.publish(event("room", "leave", leave=[session.id]))
        if isinstance(session, Session) and session.internal:
            self.publish_users()

    def _join_entry(self, session: Session | VirtualSession) -> Frame:
        entry: Frame = {"sessionid": session.id, "userid": session.user_id}
        if session.user is not None:
            entry["user"] = session.user
        if isinstance(session, Session):
            if session.features and "join-features" in self._hpb_version.features:
                entry["features"] = sorted(session.features)
            if session.room_session:
                entry["roomsessionid"] = session.room_session
            if session.kind == "federation":
                entry["federated"] = True
        return entry

    def with_internal(self, users: list[Frame]) -> list[Frame]:
        """Talk's entries and ours: internal clients, which Talk does not know, and phones, which it may."""
        virtual = {session.id: session for session in self.sessions.values() if isinstance(session, VirtualSession)}
        result = []
        for entry in users:
            phone = virtual.pop(str(entry.get("sessionId")), None)
            result.append({**entry, "virtual": True, "inCall": phone.in_call} if phone is not None else entry)
        for session in self.clients():
            if session.internal:
                ours: Frame = {
                    "inCall": session.in_call,
                    "sessionId": session.id,
                    "lastPing": int(time.time()),
                    "internal": True,
                }
                if session.features and "join-features" in self._hpb_version.features:
                    ours["features"] = sorted(session.features)
                result.append(ours)
        return result + [phone.entry() for phone in virtual.values()]

    def update_frame(self, users: list[Frame], changed: list[Frame] | None = None) -> Frame:
        update: Frame = {"roomid": self.token, "users": self.with_internal(users)}
        if changed is not None:
            update["changed"] = changed
        return event("participants", "update", update=update)

    def publish_users(self) -> None:
        frame = self.update_frame(self.users)
        if frame["event"]["update"]["users"]:
            self.publish(frame)

    def publish_flags(self, session: VirtualSession) -> None:
        if session.flags:
            self.publish(self._flags_event(session))

    def _flags_event(self, session: VirtualSession) -> Frame:
        flags = {"roomid": self.token, "sessionid": session.id, "flags": session.flags}
        return event("participants", "flags", flags=flags)

    def in_call_changed(self, changed: list[Frame], users: list[Frame]) -> list[Session]:
        """Talk's `incall` request; returns the sessions that left the call by it."""
        self.users = users
        left = []
        for entry in changed:
            in_call, session = says_in_call(entry.get("inCall")), self.sessions.get(str(entry.get("sessionId")))
            if session is None or in_call is None:
                continue
            if in_call:
                self.in_call.add(session.id)
            else:
                self.in_call.discard(session.id)
                left += [session] if isinstance(session, Session) else []
        self.publish(self.update_frame(users, changed))
        return left

    def in_call_for_all(self, flags: int) -> list[Session]:
        """Talk's `incall` request for all at once; returns the sessions that left the call by it."""
        if flags & IN_CALL:
            joined = {session.id for session in self.clients() if session.kind == "client"}
            if joined <= self.in_call:
                return []
            self.in_call |= joined
            left: list[Session] = []
        elif not self.in_call:
            return []
        else:
            left = [session for session in self.clients() if session.id in self.in_call]
            self.in_call.clear()
        self.publish(event("participants", "update", update={"roomid": self.token, "incall": flags, "all": True}))
        return left

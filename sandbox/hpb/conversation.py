# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Requests of a session after its hello: rooms, messages to others and to the SFU, an internal client's requests."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from sandbox.hpb.errors import Refusal
from sandbox.hpb.frames import Frame, bye, farewell, media_data, relayed
from sandbox.hpb.media import HANDLED, Media
from sandbox.hpb.nextcloud_client import NextcloudClient
from sandbox.hpb.room import Room
from sandbox.hpb.session import Connection, JoinedRoom, Session, VirtualSession
from sandbox.hpb.versions import HpbVersion


class Hub(Protocol):
    """What a request may use of the server; implemented by `hub.Hub`."""

    hpb_version: HpbVersion
    nextcloud: NextcloudClient
    media: Media | None
    sessions: dict[str, Session]
    virtual_sessions: dict[str, VirtualSession]
    by_room_session: dict[str, Session | VirtualSession]
    rooms: dict[str, Room]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...
    def remove_virtual(self, virtual: VirtualSession) -> None: ...
    async def leave_room(self, session: Session, *, notify: bool = True) -> bool: ...
    async def close_session(self, session: Session, *, notify: bool = True) -> None: ...
    async def release_media(self, session: Session) -> None: ...


class Conversation:
    """Raises Refusal for what is to be answered with an error."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def handle(self, connection: Connection, session: Session, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "room":
            await self._join(session, frame)
        elif kind in ("message", "control"):
            await self._message(session, frame, kind)
        elif kind == "internal" and session.internal:
            await self._internal_request(session, frame["internal"])
        elif kind == "bye":
            connection.send(farewell(frame.get("id"), self._hub.hpb_version))
            connection.websocket.close()
            await self._hub.close_session(session)

    async def _join(self, session: Session, frame: Frame) -> None:
        token, reply = frame["room"].get("roomid", ""), {"id": frame["id"]} if frame.get("id") else {}
        room_session = frame["room"].get("sessionid") or ""
        if not token:
            if await self._hub.leave_room(session):
                session.send({**reply, "type": "room", "room": {"roomid": ""}})
            return
        if session.room is not None and session.room.token == token:
            raise Refusal("already_joined", details={"room": session.room.frame()})
        allowed: Frame = {"roomid": token}
        if not session.internal:
            try:
                allowed = await self._hub.nextcloud.join(token, session.user_id, room_session or session.id)
            finally:
                await self._replace(room_session)
            if session.id not in self._hub.sessions:
                return
        await self._hub.leave_room(session)
        room = self._hub.rooms.setdefault(token, Room(token, allowed.get("properties"), self._hub.hpb_version))
        session.room_session, session.permissions = room_session, allowed.get("permissions")
        if room_session:
            self._hub.by_room_session[room_session] = session
        session.send({**reply, "type": "room", "room": room.frame()})
        room.add(session, (allowed.get("session") or {}).get("userid", ""))

    async def _replace(self, room_session: str) -> None:
        """One HPB session per Nextcloud session: the earlier one ends, even one that joins another room with it."""
        earlier = self._hub.by_room_session.get(room_session) if room_session else None
        if isinstance(earlier, Session):
            if earlier.connection is not None:
                earlier.connection.send(bye("room_session_reconnected"))
                earlier.connection.websocket.close()
            await self._hub.close_session(earlier, notify=False)

    async def _message(self, session: Session, frame: Frame, kind: str) -> None:
        recipient, data = frame[kind]["recipient"], frame[kind]["data"]
        to = recipient["type"]
        if kind == "control" and not session.internal and "control" not in (session.permissions or ["control"]):
            return
        if kind == "message" and to != "user" and self._hub.media is not None:
            media = media_data(data, self._hub.hpb_version)
            if media is not None and to == "session" and media.get("type") in HANDLED:
                await self._media_message(session, recipient["sessionid"], media, frame.get("id"))
                return
            other = self._hub.sessions.get(recipient["sessionid"]) if to == "session" else None
            if media is not None and media.get("type") == "sendoffer" and other is not None and other is not session:
                self._hub.spawn(self._hub.media.offer_own_stream(session, other, media, frame.get("id")))
                return
        if to == "session":
            self._relay_to_session(session, kind, recipient["sessionid"], data)
            return
        message = relayed(kind, to, session.id, session.user_id, data)
        room = session.room
        for other in tuple(self._hub.sessions.values()) if to == "user" else (room.clients() if room is not None else ()):
            addressed = other.user_id == recipient.get("userid") if to == "user" else True
            if other is session or not addressed or (to == "call" and (room is None or other.id not in room.in_call)):
                continue
            if to != "user" or other.user_id != session.user_id:
                other.send(message)

    async def _media_message(self, session: Session, recipient: str, data: Frame, message_id: str | None) -> None:
        assert self._hub.media is not None
        if data["type"] != "requestoffer":
            await self._hub.media.handle(session, recipient, data)
            return

        async def wait_for_offer(media: Media) -> None:
            try:
                await media.handle(session, recipient, data)
            except Refusal as refusal:
                session.send(refusal.frame(message_id))

        self._hub.spawn(wait_for_offer(self._hub.media))

    def _relay_to_session(self, session: Session, kind: str, recipient: str, data: Any) -> None:
        other: Session | VirtualSession | None = self._hub.sessions.get(recipient) or self._hub.virtual_sessions.get(recipient)
        if isinstance(other, VirtualSession):
            addressed = {"type": "session", "sessionid": other.own_id}
            other.owner.send(relayed(kind, "session", session.id, session.user_id, data, addressed))
        elif other is not None and other is not session:
            other.send(relayed(kind, "session", session.id, session.user_id, data))

    async def _internal_request(self, session: Session, request: Frame) -> None:
        kind = request["type"]
        if kind == "incall":
            changed = session.in_call != request["incall"]["incall"]
            session.in_call = request["incall"]["incall"]
            if changed and session.room is not None:
                await self._in_call_changed(session, session.room)
            return
        content = request.get(kind)
        room = self._hub.rooms.get(content["roomid"]) if isinstance(content, dict) else None
        if room is None or not isinstance(content, dict):
            return
        virtual = session.virtual_sessions.get(content["sessionid"])
        if kind == "addsession":
            virtual = session.virtual_sessions[content["sessionid"]] = VirtualSession(session, content)
            self._hub.virtual_sessions[virtual.id] = self._hub.by_room_session[virtual.id] = virtual
            room.add(virtual)
        elif kind == "removesession" and virtual is not None:
            self._hub.remove_virtual(virtual)
        elif kind == "updatesession" and virtual is not None:
            if isinstance(content.get("flags"), int) and content["flags"] != virtual.flags:
                virtual.flags = content["flags"]
                room.publish_flags(virtual)
            if isinstance(content.get("incall"), int) and content["incall"] != virtual.in_call:
                virtual.in_call = content["incall"]
                await self._in_call_changed(virtual, room)

    async def _in_call_changed(self, session: Session | VirtualSession, room: JoinedRoom) -> None:
        if session.in_call & 1:
            room.in_call.add(session.id)
        else:
            room.in_call.discard(session.id)
            if isinstance(session, Session):
                await self._hub.release_media(session)
        room.publish_users()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk's requests to the HPB: `POST /api/v1/room/TOKEN`, signed with the shared secret."""

from __future__ import annotations

import hmac
import json
from http import HTTPStatus
from typing import Any

from sandbox.hpb.frames import Frame, event
from sandbox.hpb.hub import Hub
from sandbox.hpb.nextcloud_client import checksum
from sandbox.hpb.room import Room
from sandbox.hpb.session import Session
from sandbox.hpb.websocket_server import HttpRequest, HttpResponse

#: Talk's id for "not in the call".
_NOT_IN_MEETING = "0"


def _refused(status: HTTPStatus, text: str) -> HttpResponse:
    return HttpResponse(status, text.encode(), "text/plain; charset=utf-8")


class BackendApi:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def room(self, token: str, request: HttpRequest) -> HttpResponse:
        random, given = request.headers.get("spreed-signaling-random", ""), request.headers.get("spreed-signaling-checksum", "")
        wanted = checksum(self._hub.nextcloud.secret, random, request.body)
        backend = request.headers.get("spreed-signaling-backend")
        known = backend is None or self._hub.nextcloud.knows(backend)
        if not random or not known or not hmac.compare_digest(wanted, given.lower()):
            return _refused(HTTPStatus.FORBIDDEN, "Authentication check failed")
        try:
            message = json.loads(request.body)
            kind = message["type"]
            content = message.get(kind) or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            return _refused(HTTPStatus.BAD_REQUEST, "Could not read body")
        room = self._hub.rooms.get(token)
        if kind not in ("invite", "disinvite", "update", "delete", "incall", "participants", "message", "switchto"):
            return _refused(HTTPStatus.BAD_REQUEST, f"Unsupported request type: {kind}")
        if kind == "disinvite":
            await self._disinvite(token, content)
        elif room is None:
            pass  # no session to notify
        elif kind == "incall":
            await self._in_call(room, content)
        elif kind == "participants":
            self._participants(room, content)
        elif kind == "message" and content.get("data"):
            room.publish(event("room", "message", message={"roomid": token, "data": content["data"]}))
        elif kind == "switchto":
            self._switch_to(content)
        elif kind == "update" and content.get("properties") != room.properties:
            room.properties = content.get("properties")
            room.publish({"type": "room", "room": {"roomid": token, "properties": room.properties}})
        elif kind == "delete":
            await self._delete(room)
        return HttpResponse(HTTPStatus.OK)

    def _known(self, entries: Any) -> list[Frame]:
        """Talk's entries with the HPB's session ids in place of its own, those of unknown sessions left out."""
        result = []
        for entry in entries or ():
            session = self._hub.by_room_session.get(str(entry.get("sessionId", _NOT_IN_MEETING)))
            if session is not None:
                if isinstance(session, Session) and isinstance(entry.get("permissions"), list):
                    session.permissions = [str(permission) for permission in entry["permissions"]]
                result.append({**{key: value for key, value in entry.items() if key != "permissions"}, "sessionId": session.id})
        return result

    async def _in_call(self, room: Room, content: Frame) -> None:
        if content.get("all"):
            left = room.in_call_for_all(int(content.get("incall") or 0))
        else:
            changed, users = self._known(content.get("changed")), self._known(content.get("users"))
            if not changed and not users:
                return
            left = room.in_call_changed(changed, users)
        for session in left:
            await self._hub.release_media(session)

    def _participants(self, room: Room, content: Frame) -> None:
        changed, users = self._known(content.get("changed")), self._known(content.get("users"))
        if changed or users:
            room.publish(room.update_frame(users, changed))

    def _switch_to(self, content: Frame) -> None:
        sessions = content.get("sessions") or ()
        for room_session in sessions:
            session = self._hub.by_room_session.get(room_session)
            if isinstance(session, Session):
                target: Frame = {"roomid": content.get("roomid", "")}
                if isinstance(sessions, dict):
                    target["details"] = sessions[room_session]
                session.send(event("room", "switchto", switchto=target))

    async def _disinvite(self, token: str, content: Frame) -> None:
        frame = event("roomlist", "disinvite", disinvite={"roomid": token, "reason": "disinvited"})
        wanted = set(content.get("sessionids") or ())
        users = set(content.get("userids") or ())
        for session in tuple(self._hub.sessions.values()):
            if session.room_session not in wanted and (not session.user_id or session.user_id not in users):
                continue
            session.send(frame)
            if session.room is not None and session.room.token == token:
                if session.connection is not None:
                    session.connection.websocket.close()
                await self._hub.close_session(session)

    async def _delete(self, room: Room) -> None:
        for session in room.clients():
            if session.internal:
                session.send(event("room", "delete"))
        for session in room.clients():
            await self._hub.leave_room(session)
            session.send({"type": "room", "room": {"roomid": ""}})

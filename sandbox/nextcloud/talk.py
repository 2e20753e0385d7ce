# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk: rooms, calls, the signaling settings, the HPB's requests, and Talk's requests to the transcription app."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response

from sandbox.nextcloud import checksum
from sandbox.nextcloud.hello_token import HelloTokens
from sandbox.nextcloud.notifier import HpbNotifier
from sandbox.nextcloud.ocs import OcsError, ocs
from sandbox.nextcloud.rooms import DISCONNECTED, IN_CALL, WITH_AUDIO, NoSuchRoom, Room, Rooms, TalkSession

logger = logging.getLogger(__name__)

#: Talk looks up the app by this literal id.
TRANSCRIPTION_APP = "live_transcription"
#: Seconds that Talk gives the app for each request.
TALK_TIMEOUT_S = 3.0

#: Versions that refuse the signaling settings to apps (spreed, pull request 17736).
REFUSING_APPS = ("22.0.11", "23.0.3")

BACKEND_PATH = "/ocs/v2.php/apps/spreed/api/v3/signaling/backend"


@dataclass(frozen=True, slots=True)
class ExAppAnswer:
    """The external app's answer: HTTP status, decoded JSON (None if there is none), and the time in seconds."""

    status: int
    body: Any
    elapsed_s: float

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class ExAppRequests(Protocol):
    """Sends a request to an external app as AppAPI does; raises `ExAppUnreachable`."""

    async def request(
        self,
        app_id: str,
        method: str,
        route: str,
        *,
        user_id: str | None = None,
        params: dict[str, Any] | None = None,
        timeout_s: float = TALK_TIMEOUT_S,
    ) -> ExAppAnswer: ...


class SystemMessages(Protocol):
    """Writes a system message into a conversation's chat; returns its id."""

    def system(self, token: str, name: str, actor: str, display_name: str = "") -> int: ...


class Talk:
    """`secret` is shared with the HPB; `stun_servers` and `turn_servers` stand in the signaling settings as given."""

    def __init__(self, secret: str, *, hpb_url: str | None = None, version: str = "22.0.4") -> None:
        self.secret = secret
        self.version = version
        self.rooms = Rooms()
        self.tokens = HelloTokens()
        self.notifier = HpbNotifier(secret, hpb_url=hpb_url)
        #: Whether end-to-end encryption of calls is switched on.
        self.encrypts_calls = False
        self.stun_servers: list[dict[str, Any]] = []
        self.turn_servers: list[dict[str, Any]] = []
        self.ex_apps: ExAppRequests | None = None
        self.bots: SystemMessages | None = None
        #: Where attachments go, and the users who may not attach files.
        self.attachment_folder = "/Talk"
        self.without_attachments: set[str] = set()
        self.base_url = ""
        #: Requests of the HPB that came with a wrong checksum.
        self.refused_requests = 0
        #: Requests of apps for the signaling settings that this version refused.
        self.refused_settings = 0
        self.router = self._routes()

    def listen_at(self, base_url: str) -> None:
        self.base_url = self.notifier.backend_url = base_url

    # What Talk's clients do, by way of its web API.

    def join_room(self, token: str, user_id: str | None, display_name: str) -> TalkSession:
        return self.rooms.join(token, user_id, display_name)

    async def leave_room(self, session_id: str) -> None:
        session = self.rooms.leave(session_id)
        if session is not None and session.in_call != DISCONNECTED:
            room = self.rooms[session.room_token]
            self._note_call(session, room, session.in_call, room.flags | session.in_call, DISCONNECTED)
            await self.notifier.in_call_changed(room, [session_id])

    async def join_call(self, session_id: str, flags: int = IN_CALL | WITH_AUDIO) -> None:
        """Also changes the flags of participants who are in the call already."""
        session = self.rooms.session(session_id)
        room = self.rooms[session.room_token]
        before, room_before = session.in_call, room.flags
        session.in_call = flags
        self._note_call(session, room, before, room_before, flags)
        await self.notifier.in_call_changed(room, [session_id])

    async def leave_call(self, session_id: str) -> None:
        await self.join_call(session_id, DISCONNECTED)

    def _note_call(self, session: TalkSession, room: Room, before: int, room_before: int, after: int) -> None:
        """Write the system messages about a call into the chat."""
        if self.bots is None or bool(before) == bool(after):
            return
        started, ended = room_before == DISCONNECTED, room.flags == DISCONNECTED
        kinds = ["call_started" if started else "call_joined"] if after else ["call_left", *(["call_ended"] if ended else [])]
        for kind in kinds:
            self.bots.system(room.token, kind, session.actor, session.display_name)

    async def end_call_for_all(self, token: str) -> None:
        room = self.rooms[token]
        if self.bots is not None and room.flags != DISCONNECTED:
            self.bots.system(token, "call_ended_everyone", f"users/{room.owner}", room.owner)
        for session in room.sessions.values():
            session.in_call = DISCONNECTED
        await self.notifier.ended_for_all(room)

    def hello_auth(self, user_id: str | None, display_name: str) -> dict[str, Any]:
        """The `auth` of a user's hello 2.0 at the HPB."""
        token = self.tokens.sign(self.base_url, user_id, display_name)
        return {"url": self.base_url + BACKEND_PATH, "params": {"token": token}}

    def signaling_settings(self, user_id: str | None, display_name: str = "") -> dict[str, Any]:
        return {
            "signalingMode": "external" if self.notifier.hpb_url else "internal",
            "userId": user_id,
            "hideWarning": True,
            "server": (self.notifier.hpb_url or "") + "/" if self.notifier.hpb_url else "",
            "ticket": "",
            "helloAuthParams": {
                "1.0": {"userid": user_id, "ticket": ""},
                "2.0": {"token": self.tokens.sign(self.base_url, user_id, display_name)},
            },
            "federation": None,
            "stunservers": self.stun_servers,
            "turnservers": self.turn_servers,
            "sipDialinInfo": "",
        }

    def capabilities(self, *, captions: bool, user: str = "") -> dict[str, Any]:
        """Capability `spreed`; the HPB reads the key of the hello tokens here. `captions`: browsers show the CC button."""
        attachments: dict[str, Any] = {"allowed": bool(user) and user not in self.without_attachments}
        if user:
            attachments["folder"] = self.attachment_folder
        return {
            "features": [
                "audio",
                "video",
                "chat-v2",
                "conversation-v4",
                "signaling-v3",
                "in-call-flags",
                "live-transcription",
                "call-end-to-end-encryption",
            ],
            "config": {
                "attachments": attachments,
                "call": {
                    "enabled": True,
                    "end-to-end-encryption": self.encrypts_calls,
                    "live-transcription": captions,
                    "live-translation": False,
                },
                "signaling": {"session-ping-limit": 200, "hello-v2-token-key": self.tokens.public_key},
            },
            "version": self.version,
        }

    # What Talk asks of the transcription app.

    async def enable_captions(
        self, room_token: str, nc_session_id: str, user_id: str | None, lang: str | None = None
    ) -> ExAppAnswer:
        """A participant clicks CC. `lang` None: the room's language, and where it has none the key is absent."""
        return await self._transcribe(room_token, nc_session_id, user_id, lang, enable=True)

    async def disable_captions(self, room_token: str, nc_session_id: str, user_id: str | None) -> ExAppAnswer:
        return await self._transcribe(room_token, nc_session_id, user_id, None, enable=False)

    async def set_language(self, room_token: str, lang: str, user_id: str | None = None) -> ExAppAnswer:
        """Saves the language in the room unless the app refuses it; its 404 (no transcription runs) is no refusal."""
        body = {"roomToken": room_token, "langId": lang}
        answer = await self._ask("POST", "/api/v1/call/set-language", user_id, body)
        if (answer.ok or answer.status == 404) and room_token in self.rooms:
            self.rooms[room_token].language = lang or None
        return answer

    async def leave(self, room_token: str, user_id: str | None = None) -> ExAppAnswer:
        return await self._ask("POST", "/api/v1/call/leave", user_id, {"roomToken": room_token})

    async def languages(self, user_id: str | None = None) -> ExAppAnswer:
        return await self._ask("GET", "/api/v1/languages", user_id, None)

    async def app_capabilities(self, user_id: str | None = None) -> ExAppAnswer:
        return await self._ask("GET", "/capabilities", user_id, None)

    async def translation_languages(self, room_token: str, user_id: str | None = None) -> ExAppAnswer:
        return await self._ask("GET", "/api/v1/translation/languages", user_id, {"roomToken": room_token})

    async def set_target_language(
        self, room_token: str, nc_session_id: str, user_id: str | None, lang: str | None
    ) -> ExAppAnswer:
        body = {"roomToken": room_token, "ncSessionId": nc_session_id, "langId": lang}
        return await self._ask("POST", "/api/v1/translation/set-target-language", user_id, body)

    async def _transcribe(
        self, room_token: str, nc_session_id: str, user_id: str | None, lang: str | None, *, enable: bool
    ) -> ExAppAnswer:
        body: dict[str, Any] = {"roomToken": room_token, "ncSessionId": nc_session_id, "enable": enable}
        if enable:
            lang = lang or (self.rooms[room_token].language if room_token in self.rooms else None)
            if lang is not None:
                body["langId"] = lang
        return await self._ask("POST", "/api/v1/call/transcribe", user_id, body)

    async def _ask(self, method: str, route: str, user_id: str | None, params: dict[str, Any] | None) -> ExAppAnswer:
        assert self.ex_apps is not None, "the Nextcloud has no AppAPI"
        return await self.ex_apps.request(TRANSCRIPTION_APP, method, route, user_id=user_id, params=params)

    # What the HPB asks of Talk.

    def _routes(self) -> APIRouter:
        router = APIRouter()

        @router.post(BACKEND_PATH)
        async def backend(request: Request) -> Response:
            return ocs(request, await self._backend(request, await request.body()))

        @router.get("/ocs/v2.php/apps/spreed/api/v3/signaling/settings")
        async def settings(request: Request, token: str = "") -> Response:
            if token and token not in self.rooms:
                raise OcsError(404)
            user_id = request.state.user_id or None
            if user_id is None and self.version in REFUSING_APPS:
                self.refused_settings += 1
                raise OcsError(401)
            return ocs(request, self.signaling_settings(user_id, user_id or ""))

        return router

    async def _backend(self, request: Request, body: bytes) -> dict[str, Any]:
        if not checksum.verify(self.secret, request.headers, body):
            self.refused_requests += 1
            return _error("invalid_request", "The request could not be authenticated.")
        try:
            message = json.loads(body)
            kind, content = message["type"], message[message["type"]]
            if kind == "room":
                return await self._room(content)
            if kind == "ping":
                return {"type": "ping", "ping": {"version": "1.0", "roomid": content.get("roomid", "")}}
            if kind == "session":
                return {"type": "session", "session": {"version": "1.0", "roomid": content["roomid"]}}
            if kind == "auth":
                return _error("invalid_ticket", "The given ticket is not valid for this user.")
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning("The HPB sent a malformed request")
        return _error("unknown_type", "The given type is not supported.")

    async def _room(self, content: dict[str, Any]) -> dict[str, Any]:
        session_id = content.get("sessionid", "")
        try:
            room = self.rooms[content["roomid"]]
        except NoSuchRoom:
            return _error("no_such_room", "The user is not invited to this room.")
        if content.get("action", "join") == "leave":
            await self.leave_room(session_id)
        elif room.closed or (session_id and session_id not in room.sessions and "actortype" not in content):
            return _error("no_such_room", "The user is not invited to this room.")
        elif session_id in room.sessions:
            session = room.sessions[session_id]
            answer = room.join_answer()
            if session.user_id is None:
                answer["room"]["session"] = {"displayname": session.display_name}
            return answer
        return room.join_answer()

    def room(self, token: str) -> Room:
        return self.rooms[token]


def _error(code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"code": code, "message": message}}

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk's web API as its clients use it: conversation, call and live transcription (Talk's docs, "Conversation", "Call" and
"Live transcription API"). Users come with an app password, guests with nothing; a cookie holds their session together.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response

from sandbox.nextcloud.app_api import AppApi, ExAppUnreachable
from sandbox.nextcloud.ocs import OcsError, ocs
from sandbox.nextcloud.rooms import DISCONNECTED, NoSuchRoom, NoSuchSession, Room, TalkSession
from sandbox.nextcloud.talk import TRANSCRIPTION_APP, ExAppAnswer, Talk

ROOT = "/ocs/v2.php/apps/spreed/api"
_COOKIE = "oc_sessionPassphrase"
_PUBLIC, _GROUP = 3, 2
_OWNER, _USER, _GUEST = 1, 3, 4


class Refused(Exception):
    """An answer with `{"error": …}` as its data."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


class Accounts:
    """`passwords`: app passwords by user."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}

    def user_of(self, request: Request) -> str:
        """ "" for a guest. Raises OcsError 401 for a wrong password."""
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return ""
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = password = ""
        known = self.passwords.get(user, "")
        if not known or not secrets.compare_digest(known.encode(), password.encode()):
            raise OcsError(401, "Current user is not logged in")
        return user


class WebApi:
    """The routes, and which Talk session each cookie has in each room."""

    def __init__(self, talk: Talk, app_api: AppApi) -> None:
        self._talk = talk
        self._app_api = app_api
        self._sessions: dict[tuple[str, str], str] = {}
        self.router = self._routes()

    def _room(self, token: str, user: str) -> Room:
        try:
            room = self._talk.rooms[token]
        except NoSuchRoom:
            raise OcsError(404) from None
        if not user and not room.public:
            raise OcsError(404)
        return room

    def _session(self, request: Request, room: Room) -> TalkSession:
        """The session of the participant who sent the request. Raises OcsError 404 if they are not in the room."""
        try:
            return self._talk.rooms.session(self._sessions[request.cookies.get(_COOKIE, ""), room.token])
        except (KeyError, NoSuchSession):
            raise OcsError(404) from None

    def _describe(self, room: Room, user: str, session: TalkSession | None = None) -> dict[str, Any]:
        moderator = user in room.moderators
        return {
            "token": room.token,
            "type": _PUBLIC if room.public else _GROUP,
            "participantType": _OWNER if moderator else _USER if user else _GUEST,
            "sessionId": session.id if session else "0",
            "hasCall": room.flags != DISCONNECTED,
            "callFlag": room.flags,
            "canStartCall": bool(user) or room.guests_may_start,
            "lobbyState": 0,
            "permissions": 254,
            "liveTranscriptionLanguageId": room.language or "",
        }

    def _routes(self) -> APIRouter:
        router = APIRouter()

        def user_of(request: Request) -> str:
            """Nextcloud takes OCS requests of its web clients only with this header (protection against forgery)."""
            if request.headers.get("ocs-apirequest", "").lower() != "true":
                raise OcsError(412, "CSRF check failed")
            return str(request.state.user_id)

        @router.get(ROOT + "/v4/room/{token}")
        async def room(request: Request, token: str) -> Response:
            user = user_of(request)
            return ocs(request, self._describe(self._room(token, user), user))

        @router.post(ROOT + "/v4/room/{token}/participants/active")
        async def join_room(request: Request, token: str) -> Response:
            user = user_of(request)
            joined = self._room(token, user)
            cookie = request.cookies.get(_COOKIE) or secrets.token_hex(32)
            session = self._talk.join_room(token, user or None, user)
            self._sessions[cookie, token] = session.id
            answer = ocs(request, self._describe(joined, user, session))
            answer.set_cookie(_COOKIE, cookie, httponly=True, samesite="lax")
            return answer

        @router.delete(ROOT + "/v4/room/{token}/participants/active")
        async def leave_room(request: Request, token: str) -> Response:
            user_of(request)
            if session_id := self._sessions.pop((request.cookies.get(_COOKIE, ""), token), None):
                await self._talk.leave_room(session_id)
            return ocs(request, None)

        @router.post(ROOT + "/v1/guest/{token}/name")
        async def guest_name(request: Request, token: str) -> Response:
            user = user_of(request)
            self._session(request, self._room(token, user)).display_name = str((await _body(request)).get("displayName", ""))
            return ocs(request, None)

        @router.post(ROOT + "/v4/call/{token}")
        async def join_call(request: Request, token: str) -> Response:
            user = user_of(request)
            called = self._room(token, user)
            session = self._session(request, called)
            if called.flags == DISCONNECTED and not (user or called.guests_may_start):
                raise OcsError(403)
            await self._talk.join_call(session.id, int((await _body(request)).get("flags", 7)))
            return ocs(request, None)

        @router.delete(ROOT + "/v4/call/{token}")
        async def leave_call(request: Request, token: str) -> Response:
            user = user_of(request)
            await self._talk.leave_call(self._session(request, self._room(token, user)).id)
            return ocs(request, None)

        @router.get(ROOT + "/v1/live-transcription/languages")
        async def languages(request: Request) -> Response:
            user = user_of(request)
            return ocs(request, (await self._asked(self._talk.languages(user or None))).body)

        @router.post(ROOT + "/v1/live-transcription/{token}")
        async def captions_on(request: Request, token: str) -> Response:
            session = self._in_call(request, token, user_of(request))
            await self._asked(self._talk.enable_captions(token, session.id, session.user_id))
            return ocs(request, None)

        @router.delete(ROOT + "/v1/live-transcription/{token}")
        async def captions_off(request: Request, token: str) -> Response:
            session = self._in_call(request, token, user_of(request))
            await self._asked(self._talk.disable_captions(token, session.id, session.user_id))
            return ocs(request, None)

        @router.post(ROOT + "/v1/live-transcription/{token}/language")
        async def language(request: Request, token: str) -> Response:
            user = user_of(request)
            changed = self._room(token, user)
            if user not in changed.moderators:
                raise OcsError(403)
            wanted = str((await _body(request)).get("languageId", ""))
            await self._asked(self._talk.set_language(token, wanted or "en", user), tolerated=404)
            changed.language = wanted or None
            return ocs(request, None)

        return router

    def _in_call(self, request: Request, token: str, user: str) -> TalkSession:
        session = self._session(request, self._room(token, user))
        if session.in_call == DISCONNECTED:
            raise Refused(400, "in-call")
        return session

    async def _asked(self, asking: Coroutine[Any, Any, ExAppAnswer], *, tolerated: int = 0) -> ExAppAnswer:
        """The app's answer. As in Talk, its refusal becomes an internal error of Nextcloud."""
        app = self._app_api.apps.get(TRANSCRIPTION_APP)
        if app is None or not app.enabled:
            asking.close()
            raise Refused(400, "app")
        try:
            answer = await asking
        except ExAppUnreachable:
            raise OcsError(500, "Internal Server Error") from None
        if not answer.ok and answer.status != tolerated:
            raise OcsError(500, "Internal Server Error")
        return answer


async def on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return ocs(request, {"error": error.error}, status=error.status, message="")


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = {}
    return body if isinstance(body, dict) else {}

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk's bots, as far as external apps have them: AppAPI registers a bot, a moderator enables it in a conversation, and Talk
sends it what happens in the chat, through AppAPI's proxy (Talk's docs, "Bots and Webhooks"; app_api's `TalkBotController`).

The app gets the body without Talk's signature, for nobody (an empty user), within three seconds and once. What it answers does
not matter, as long as it answers. Bots never hear bots.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import APIRouter, Request, Response

from sandbox.nextcloud.app_api import AppApi, ExApp, ExAppUnreachable
from sandbox.nextcloud.ocs import OcsError, ocs
from sandbox.nextcloud.rooms import NoSuchRoom, Room, TalkSession
from sandbox.nextcloud.talk import Talk
from sandbox.nextcloud.throttle import Throttle
from sandbox.nextcloud.web_api import Refused

PROXY = "/ocs/v2.php/apps/app_api/api/v1/talk_proxy"
_BOT_API = "/ocs/v2.php/apps/spreed/api/v1/bot"
_APP_API = ("/ocs/v1.php/apps/app_api/api/v1", "/ocs/v2.php/apps/app_api/api/v1")
#: Features: events by webhook, and answers.
WEBHOOK, RESPONSE = 1, 2
#: States: disabled, enabled, enabled without a choice of moderators.
DISABLED, ENABLED, NO_SETUP = 0, 1, 2
TALK_WAITS_S, APP_API_WAITS_S = 5.0, 3.0
MAX_MESSAGE, MAX_REFERENCE = 32_000, 64


@dataclass(slots=True)
class BotServer:
    """One bot in Talk's table. `number`: Talk's id, which occ and moderators use."""

    number: int
    name: str
    secret: str
    url: str
    description: str
    state: int = ENABLED
    features: int = WEBHOOK | RESPONSE
    #: Webhooks that failed. Talk only counts them.
    error_count: int = 0

    @property
    def actor(self) -> dict[str, str]:
        return {"type": "Application", "id": f"bots/bot-{hashlib.sha1(self.url.encode()).hexdigest()}", "name": self.name}


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """`actor`: kind and id, such as `users/ada`. `system`: the id of a system message, "" for one of a person or bot."""

    id: int
    actor: str
    text: str
    system: str = ""
    reference: str = ""
    reply_to: int = 0
    silent: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Bots:
    """The bots, where they are enabled, and the conversations' chats."""

    def __init__(self, talk: Talk, app_api: AppApi) -> None:
        self.servers: dict[int, BotServer] = {}
        self.chats: dict[str, list[ChatMessage]] = {}
        #: AppAPI's table: the secret by app and route.
        self._secrets: dict[tuple[str, str], str] = {}
        self._enabled: dict[str, list[int]] = {}
        self._talk, self._app_api = talk, app_api
        self._numbers, self._messages = itertools.count(1), itertools.count(1)
        #: Brute-force protection of the action `bot`, by address.
        self.throttle = Throttle()
        self._client = httpx.AsyncClient(trust_env=False)
        self._webhooks: set[asyncio.Task[None]] = set()
        app_api.on_removed = self.remove_all
        talk.bots = self

    async def aclose(self) -> None:
        for task in list(self._webhooks):
            task.cancel()
        await asyncio.gather(*self._webhooks, return_exceptions=True)
        await self._client.aclose()

    async def settled(self) -> None:
        """Wait until all webhooks have been delivered, or have failed."""
        while self._webhooks:
            await asyncio.gather(*self._webhooks, return_exceptions=True)

    # AppAPI's side.

    def register(self, app: ExApp, name: str, route: str, description: str) -> dict[str, str]:
        """The bot's id and secret. A second call for the same route keeps the secret and changes the texts."""
        route = route.lstrip("/")
        if not 1 <= len(name.encode()) <= 64 or len(description.encode()) > 4000:
            raise OcsError(500, "Internal Server Error")
        secret = self._secrets.get((app.app_id, route)) or "".join(secrets.choice(_HUMAN) for _ in range(64))
        url = self._url(app.app_id, route)
        if (server := self._server(url)) is None:
            number = next(self._numbers)
            self.servers[number] = BotServer(number, name, secret, url, description)
        elif server.secret != secret:
            raise OcsError(500, "Internal Server Error")
        else:
            server.name, server.description = name, description
        self._secrets[app.app_id, route] = secret
        return {"id": hashlib.sha1(f"{app.app_id}_{route}".encode()).hexdigest(), "secret": secret}

    def unregister(self, app_id: str, route: str) -> None:
        """Talk forgets in which conversations the bot was enabled."""
        if self._secrets.pop((app_id, route.lstrip("/")), None) is None:
            raise OcsError(404, "Talk bots could not be unregistered")
        server = self._server(self._url(app_id, route.lstrip("/")))
        if server is not None:
            del self.servers[server.number]
            for enabled in self._enabled.values():
                if server.number in enabled:
                    enabled.remove(server.number)

    def remove_all(self, app_id: str) -> None:
        """The app was removed."""
        for app, route in list(self._secrets):
            if app == app_id:
                self.unregister(app, route)

    def _url(self, app_id: str, route: str) -> str:
        return f"{self._app_api.nextcloud_url}{PROXY}/{app_id}/{route}"

    def _server(self, url: str) -> BotServer | None:
        return next((server for server in self.servers.values() if server.url == url), None)

    # What moderators do.

    def enable(self, token: str, number: int) -> bool:
        """False if it is enabled already."""
        room = self._talk.rooms[token]
        server = self.servers.get(number)
        if room.federated or room.former_one_to_one:
            raise Refused(400, "room")
        if server is None or server.state != ENABLED:
            raise Refused(400, "bot")
        enabled = self._enabled.setdefault(token, [])
        if number in enabled:
            return False
        enabled.append(number)
        self._send([server], {"type": "Join", "actor": server.actor, "object": _collection(room)})
        return True

    def disable(self, token: str, number: int) -> None:
        room, server = self._talk.rooms[token], self.servers.get(number)
        if server is None or server.state != ENABLED:
            raise Refused(400, "bot")
        if number in self._enabled.get(token, []):
            self._enabled[token].remove(number)
        self._send([server], {"type": "Leave", "actor": server.actor, "object": _collection(room)})

    def enabled(self, token: str) -> list[BotServer]:
        numbers = self._enabled.get(token, [])
        return [self.servers[number] for number in numbers if self.servers[number].state != DISABLED]

    # What people say, and what Talk notes in the chat.

    def say(self, session: TalkSession, text: str, *, reply_to: int = 0) -> int:
        """A chat message; returns its id."""
        room = self._talk.rooms[session.room_token]
        message = self._append(room.token, session.actor, text, reply_to=reply_to)
        actor = {**_person(session.actor, session.display_name), "talkParticipantType": str(room.participant_type(session))}
        note = _note(message.id, "message", text, {})
        if parent := next((each for each in self.chats[room.token] if each.id == reply_to), None):
            quoted = _note(parent.id, "", parent.text, {})
            note["inReplyTo"] = {"type": "Note", "actor": _person(parent.actor, ""), "object": quoted}
        self._send_to_room(room, {"type": "Create", "actor": actor, "object": note, "target": _collection(room)})
        return message.id

    def system(
        self, token: str, name: str, actor: str, display_name: str = "", *, text: str = "", parameters: Any = None
    ) -> int:
        """A system message; returns its id. Talk sends its text in English, with what it names as parameters."""
        room = self._talk.rooms[token]
        message = self._append(token, actor, text or name, system=name, parameters=parameters or {})
        has_file = name == "file_shared" and self._talk.version < "23"
        note = _note(message.id, "" if has_file else name, message.text, message.parameters)
        person = _person(actor, display_name)
        self._send_to_room(room, {"type": "Activity", "actor": person, "object": note, "target": _collection(room)})
        return message.id

    def _append(self, token: str, actor: str, text: str, **more: Any) -> ChatMessage:
        message = ChatMessage(next(self._messages), actor, text, **more)
        self.chats.setdefault(token, []).append(message)
        return message

    def spoken(self, token: str) -> list[str]:
        """What bots have said in the conversation."""
        return [message.text for message in self.chats.get(token, []) if message.actor.startswith("bots/")]

    # Webhooks.

    def _send_to_room(self, room: Room, body: dict[str, Any]) -> None:
        self._send([server for server in self.enabled(room.token) if server.features & WEBHOOK], body)

    def _send(self, servers: list[BotServer], body: dict[str, Any]) -> None:
        for server in servers:
            task = asyncio.get_running_loop().create_task(self._webhook(server, json.dumps(body)))
            self._webhooks.add(task)
            task.add_done_callback(self._webhooks.discard)

    async def _webhook(self, server: BotServer, body: str) -> None:
        random = secrets.token_hex(32)
        headers = {
            "Content-Type": "application/json",
            "X-Nextcloud-Talk-Random": random,
            "X-Nextcloud-Talk-Signature": _signature(server.secret, random, body),
            "X-Nextcloud-Talk-Backend": self._app_api.nextcloud_url + "/",
            "OCS-APIRequest": "true",
        }
        try:
            answer = await self._client.post(server.url, content=body, headers=headers, timeout=TALK_WAITS_S)
        except httpx.HTTPError:
            server.error_count += 1
        else:
            server.error_count += answer.status_code not in (200, 202)

    async def _proxy(self, request: Request, app_id: str, route: str) -> int:
        """AppAPI's `proxyTalkMessage`: the status of its answer."""
        address = request.client.host if request.client else ""
        delay = self._app_api.throttle.delay(address, time.monotonic())
        if delay is None:
            return 429
        await self._app_api.sleep(delay)
        app, secret, body = self._app_api.apps.get(app_id), self._secrets.get((app_id, route)), await request.body()
        expected = _signature(secret or "", request.headers.get("x-nextcloud-talk-random", ""), body.decode(errors="replace"))
        given = request.headers.get("x-nextcloud-talk-signature", "").lower()
        subject = f"proxyTalkMessage:{app_id}:{route}"
        if app is None or not app.enabled or secret is None or not hmac.compare_digest(expected, given):
            self._app_api.throttle.failed(address, subject, time.monotonic())
            return 404
        self._app_api.throttle.succeeded(address, subject)
        # Parsed and encoded again, with the parameters of the address, and without any header of Talk.
        params = {**json.loads(body), "appId": app_id, "route": route}
        try:
            await self._app_api.request(app_id, "POST", f"/{route}", params=params, timeout_s=APP_API_WAITS_S)
        except ExAppUnreachable:
            return 500
        return 200

    # What bots answer.

    def _answer(self, token: str, message: str, body: Mapping[str, Any], random: str, checksum: str) -> int:
        if not message.strip() or len(random) < 32 or not checksum:
            return 400
        for server in self.enabled(token):
            if server.features & RESPONSE and _signature(server.secret, random, message) == checksum.lower():
                return self._post(token, server, message, body)
        return 401

    def _post(self, token: str, server: BotServer, message: str, body: Mapping[str, Any]) -> int:
        reply_to = int(body.get("replyTo") or 0)
        if reply_to and all(each.id != reply_to for each in self.chats.get(token, [])):
            return 400
        if len(message) > MAX_MESSAGE:
            return 413
        self._append(
            token,
            server.actor["id"],
            message,
            reply_to=reply_to,
            reference=str(body.get("referenceId") or "")[:MAX_REFERENCE],
            silent=bool(body.get("silent")),
        )
        return 201

    def routes(self) -> APIRouter:
        router = APIRouter()

        def caller(request: Request) -> ExApp:
            app: ExApp | None = request.state.ex_app
            if app is None:
                raise OcsError(401, "Current user is not logged in")
            return app

        for root in _APP_API:

            @router.post(root + "/talk_bot")
            async def register(request: Request) -> Response:
                app, body = caller(request), await _json(request)
                texts = [body.get(name) for name in ("name", "route", "description")]
                if not all(isinstance(each, str) for each in texts):
                    raise OcsError(400, "Bad request")
                return ocs(request, self.register(app, *map(str, texts)))

            @router.delete(root + "/talk_bot")
            async def unregister(request: Request) -> Response:
                app, body = caller(request), await _json(request)
                self.unregister(app.app_id, str(body.get("route") or request.query_params.get("route", "")))
                return ocs(request, True)

        @router.post(PROXY + "/{app_id}/{route:path}")
        async def proxy(request: Request, app_id: str, route: str) -> Response:
            return ocs(request, [], status=await self._proxy(request, app_id, route))

        @router.post(_BOT_API + "/{token}/message")
        async def answer(request: Request, token: str) -> Response:
            address = request.client.host if request.client else ""
            if request.headers.get("ocs-apirequest", "").lower() != "true":
                raise OcsError(412, "CSRF check failed")
            if (delay := self.throttle.delay(address, time.monotonic())) is None:
                raise OcsError(429, "Reached maximum delay")
            await self._app_api.sleep(delay)
            body = await _json(request)
            headers = (request.headers.get(f"x-nextcloud-talk-bot-{name}", "") for name in ("random", "signature"))
            status = self._answer(token, str(body.get("message") or ""), body, *headers)
            if status == 401:
                self.throttle.failed(address, "bot", time.monotonic())
            return ocs(request, None, status=status, message="")

        def moderated(request: Request, token: str) -> None:
            """Only moderators with an account choose bots."""
            try:
                room = self._talk.rooms[token]
            except NoSuchRoom:
                raise OcsError(404) from None
            if request.state.user_id not in room.moderators:
                raise OcsError(403)

        @router.get(_BOT_API + "/{token}")
        async def listed(request: Request, token: str) -> Response:
            moderated(request, token)
            numbers = self._enabled.get(token, [])
            return ocs(request, [_described(each, int(each.number in numbers)) for each in self.servers.values()])

        @router.post(_BOT_API + "/{token}/{number}")
        async def enable(request: Request, token: str, number: int) -> Response:
            moderated(request, token)
            created = self.enable(token, number)
            return ocs(request, _described(self.servers[number], 1), status=201 if created else 200)

        @router.delete(_BOT_API + "/{token}/{number}")
        async def disable(request: Request, token: str, number: int) -> Response:
            moderated(request, token)
            self.disable(token, number)
            return ocs(request, _described(self.servers[number], 0))

        return router


_HUMAN = "abcdefgijkmnopqrstwxyzABCDEFGHJKLMNPQRSTWXYZ23456789"


def _signature(secret: str, random: str, text: str) -> str:
    return hmac.new(secret.encode(), (random + text).encode(), hashlib.sha256).hexdigest()


def _described(server: BotServer, state: int) -> dict[str, Any]:
    return {"id": server.number, "name": server.name, "description": server.description, "state": state}


def _collection(room: Room) -> dict[str, str]:
    return {"type": "Collection", "id": room.token, "name": room.name}


def _person(actor: str, name: str) -> dict[str, str]:
    return {"type": "Person", "id": actor, "name": name}


def _note(number: int, name: str, text: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """`content` is JSON in a string. PHP has one type for lists and objects, so no parameters are an empty list."""
    content = json.dumps({"message": text, "parameters": dict(parameters) or []}, separators=(",", ":")).replace("/", "\\/")
    return {"type": "Note", "id": str(number), "name": name, "content": content, "mediaType": "text/markdown"}


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise OcsError(400, "Bad request")
    return body

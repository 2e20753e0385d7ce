# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk's bots in the stand-in: AppAPI's registration, webhooks as AppAPI passes them on, and the bots' messages."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from sandbox.nextcloud import ExApp, Nextcloud
from sandbox.nextcloud.serving import LoopbackServer
from sandbox.nextcloud.web_api import Refused

OCS = {"OCS-APIRequest": "true", "Accept": "application/json"}
TALK_BOT = "/ocs/v2.php/apps/app_api/api/v1/talk_bot"


class Listener:
    """An app that notes what AppAPI sends to it."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.delay_s = 200, 0.0
        app = FastAPI()

        @app.post("/hook")
        async def hook(request: Request) -> Response:
            self.bodies.append(await request.json())
            self.headers.append(dict(request.headers))
            await asyncio.sleep(self.delay_s)
            return Response(status_code=self.status)

        self.server = LoopbackServer(app)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    await listener.server.start()
    yield listener
    await listener.server.stop()


@pytest.fixture
async def cloud(listener: Listener) -> AsyncIterator[Nextcloud]:
    async with Nextcloud() as nextcloud:
        app = nextcloud.app_api.register(url=listener.server.url)
        app.enabled = True
        nextcloud.talk.rooms.create("room1", name="Team")
        yield nextcloud


def the_app(cloud: Nextcloud) -> ExApp:
    return cloud.app_api.apps["live_transcription"]


async def request(cloud: Nextcloud, method: str, path: str, user: str | None = "", **arguments: Any) -> httpx.Response:
    """`user` None: a request without credentials."""
    headers = OCS | (cloud.app_api.signed(the_app(cloud), user) if user is not None else {})
    async with httpx.AsyncClient(base_url=cloud.url) as client:
        return await client.request(method, path, headers=headers | arguments.pop("headers", {}), **arguments)


async def enabled(cloud: Nextcloud) -> str:
    """Register the bot and enable it in the room. Returns its secret."""
    secret = cloud.bots.register(the_app(cloud), "Transcripts", "/hook", "")["secret"]
    cloud.bots.enable("room1", 1)
    await cloud.bots.settled()
    return secret


async def test_a_second_registration_keeps_the_secret_and_the_choice_of_moderators(cloud: Nextcloud) -> None:
    body = {"name": "Transcripts", "route": "/hook", "description": "one"}
    first = (await request(cloud, "POST", TALK_BOT, json=body)).json()["ocs"]["data"]
    cloud.bots.enable("room1", 1)
    second = (await request(cloud, "POST", TALK_BOT, json=body | {"description": "two"})).json()["ocs"]["data"]
    assert first == second
    assert first["id"] == hashlib.sha1(b"live_transcription_hook").hexdigest()
    assert len(first["secret"]) == 64
    assert [server.description for server in cloud.bots.enabled("room1")] == ["two"]
    assert (await request(cloud, "POST", TALK_BOT, json={"name": "x"})).status_code == 400
    assert (await request(cloud, "POST", TALK_BOT, None, json=body)).status_code == 401


async def test_unregistering_loses_every_conversation(cloud: Nextcloud) -> None:
    await enabled(cloud)
    assert (await request(cloud, "DELETE", TALK_BOT, json={"route": "hook"})).json()["ocs"]["data"] is True
    assert cloud.bots.enabled("room1") == []
    assert (await request(cloud, "DELETE", TALK_BOT, json={"route": "hook"})).status_code == 404


async def test_moderators_with_an_account_enable_it(cloud: Nextcloud, listener: Listener) -> None:
    cloud.bots.register(the_app(cloud), "Transcripts", "hook", "")
    address = "/ocs/v2.php/apps/spreed/api/v1/bot/room1/1"
    assert (await request(cloud, "POST", address, "ada")).status_code == 403
    assert (await request(cloud, "POST", address, "admin")).status_code == 201
    assert (await request(cloud, "POST", address, "admin")).status_code == 200
    assert (await request(cloud, "DELETE", address, "admin")).status_code == 200
    await cloud.bots.settled()
    assert sorted(body["type"] for body in listener.bodies) == ["Join", "Leave"]
    assert listener.bodies[0]["object"] == {"type": "Collection", "id": "room1", "name": "Team"}
    cloud.talk.rooms["room1"].federated = True
    with pytest.raises(Refused, match="room"):
        cloud.bots.enable("room1", 1)


async def test_a_message_arrives_as_appapi_encodes_it(cloud: Nextcloud, listener: Listener) -> None:
    await enabled(cloud)
    session = cloud.talk.join_room("room1", "admin", "Ada Admin")
    guest = cloud.talk.join_room("room1", None, "Guest")
    number = cloud.bots.say(session, "a/b „c“")
    await cloud.bots.settled()
    body, headers = listener.bodies[-1], listener.headers[-1]
    assert (body["type"], body["appId"], body["route"]) == ("Create", "live_transcription", "hook")
    assert body["actor"] == {"type": "Person", "id": "users/admin", "name": "Ada Admin", "talkParticipantType": "1"}
    assert (body["object"]["id"], body["object"]["name"]) == (str(number), "message")
    assert json.loads(body["object"]["content"]) == {"message": "a/b „c“", "parameters": []}
    assert body["target"]["id"] == "room1"
    assert not any(name.startswith("x-nextcloud-talk") for name in headers)
    assert headers["authorization-app-api"] == cloud.app_api.signed(the_app(cloud), "")["AUTHORIZATION-APP-API"]
    cloud.talk.rooms["room1"].guest_moderators.add(guest.actor)
    cloud.bots.say(guest, "hi", reply_to=number)
    await cloud.bots.settled()
    assert listener.bodies[-1]["actor"]["talkParticipantType"] == "6"
    assert listener.bodies[-1]["object"]["inReplyTo"]["actor"]["id"] == "users/admin"


async def test_calls_leave_system_messages(cloud: Nextcloud, listener: Listener) -> None:
    await enabled(cloud)
    first, second = (cloud.talk.join_room("room1", name, name) for name in ("ada", "bob"))
    for session in (first, second):
        await cloud.talk.join_call(session.id)
    await cloud.talk.join_call(second.id, 7)
    await cloud.talk.leave_call(first.id)
    await cloud.talk.leave_room(second.id)
    await cloud.talk.join_call(first.id)
    await cloud.talk.end_call_for_all("room1")
    await cloud.bots.settled()
    names = [message.system for message in cloud.bots.chats["room1"]]
    assert names == [
        "call_started",
        "call_joined",
        "call_left",
        "call_left",
        "call_ended",
        "call_started",
        "call_ended_everyone",
    ]
    activities = [body for body in listener.bodies if body["type"] == "Activity"]
    assert sorted(body["object"]["name"] for body in activities) == sorted(names)
    assert all("talkParticipantType" not in body["actor"] for body in activities)


async def test_the_apps_status_does_not_matter_but_its_silence_does(
    cloud: Nextcloud, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enabled(cloud)
    session = cloud.talk.join_room("room1", "admin", "Ada")
    listener.status = 500
    cloud.bots.say(session, "one")
    await cloud.bots.settled()
    assert cloud.bots.servers[1].error_count == 0
    monkeypatch.setattr("sandbox.nextcloud.bots.APP_API_WAITS_S", 0.05)
    listener.delay_s = 5.0
    cloud.bots.say(session, "two")
    await cloud.bots.settled()
    assert cloud.bots.servers[1].error_count == 1


async def test_webhooks_of_a_disabled_app_count_against_nextclouds_own_address(cloud: Nextcloud, listener: Listener) -> None:
    await enabled(cloud)
    heard, the_app(cloud).enabled = len(listener.bodies), False
    cloud.bots.say(cloud.talk.join_room("room1", "admin", "Ada"), "one")
    await cloud.bots.settled()
    assert len(listener.bodies) == heard
    assert cloud.app_api.throttle.delay("127.0.0.1", asyncio.get_running_loop().time()) != 0.0


async def test_a_bots_message(cloud: Nextcloud, listener: Listener) -> None:
    secret = await enabled(cloud)
    heard = len(listener.bodies)

    async def post(message: str, *, random: str = "r" * 32, key: str = secret, **more: Any) -> int:
        checksum = hmac.new(key.encode(), (random + message).encode(), hashlib.sha256).hexdigest()
        headers = {"X-Nextcloud-Talk-Bot-Random": random, "X-Nextcloud-Talk-Bot-Signature": checksum}
        address = "/ocs/v2.php/apps/spreed/api/v1/bot/room1/message"
        answer = await request(cloud, "POST", address, None, json={"message": message, **more}, headers=headers)
        if answer.status_code == 201:
            assert answer.json()["ocs"]["data"] is None
        return answer.status_code

    assert await post("hello", silent=True, referenceId="x" * 70) == 201
    message = cloud.bots.chats["room1"][-1]
    assert (message.text, message.silent, message.reference) == ("hello", True, "x" * 64)
    assert [await post(" "), await post("a", random="r"), await post("a", replyTo=99)] == [400, 400, 400]
    assert await post("é" * 32_000) == 201
    assert await post("a" * 32_001) == 413

    async def no_wait(_seconds: float) -> None: ...

    cloud.app_api.sleep = no_wait
    assert [await post("a", key="wrong" * 10) for _ in range(12)] == [401] * 11 + [429]
    assert await post("a") == 429
    await cloud.bots.settled()
    assert len(listener.bodies) == heard, "bots do not hear bots"


async def test_a_bot_disabled_in_the_room_cannot_answer_there(cloud: Nextcloud) -> None:
    secret = await enabled(cloud)
    cloud.bots.disable("room1", 1)
    headers = {
        "X-Nextcloud-Talk-Bot-Random": "r" * 32,
        "X-Nextcloud-Talk-Bot-Signature": hmac.new(secret.encode(), b"r" * 32 + b"hi", hashlib.sha256).hexdigest(),
    }
    address = "/ocs/v2.php/apps/spreed/api/v1/bot/room1/message"
    assert (await request(cloud, "POST", address, None, json={"message": "hi"}, headers=headers)).status_code == 401

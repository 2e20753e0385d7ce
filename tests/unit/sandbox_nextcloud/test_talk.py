# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk's half of the Nextcloud stand-in, as the HPB and the app see it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest

from sandbox.nextcloud import ExAppAnswer, Nextcloud
from sandbox.nextcloud.checksum import sign, verify
from sandbox.nextcloud.serving import LoopbackServer
from sandbox.nextcloud.talk import BACKEND_PATH

JSON = {"Accept": "application/json", "OCS-APIRequest": "true"}


@pytest.fixture
async def nextcloud() -> AsyncIterator[Nextcloud]:
    async with Nextcloud() as running:
        yield running


async def ask_backend(nextcloud: Nextcloud, message: dict[str, Any], *, secret: str | None = None) -> dict[str, Any]:
    body = json.dumps(message).encode()
    headers = {**JSON, **sign(secret or nextcloud.signaling_secret, body)}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(nextcloud.url + BACKEND_PATH, content=body, headers=headers)
    assert answer.status_code == 200
    data: dict[str, Any] = answer.json()["ocs"]["data"]
    return data


async def test_the_hpb_may_bring_in_only_sessions_that_talk_made(nextcloud: Nextcloud) -> None:
    room = nextcloud.talk.rooms.create("abcd", name="Weekly")
    session = nextcloud.talk.join_room("abcd", "user-1", "User 1")
    request = {"version": "1.0", "roomid": "abcd", "userid": "user-1", "sessionid": session.id, "action": "join"}

    joined = await ask_backend(nextcloud, {"type": "room", "room": request})
    assert joined["room"]["roomid"] == "abcd"
    assert joined["room"]["properties"]["name"] == "Weekly"
    assert "publish-audio" in joined["room"]["permissions"]

    unknown = await ask_backend(nextcloud, {"type": "room", "room": {**request, "sessionid": "made-up"}})
    assert unknown["error"]["code"] == "no_such_room"
    elsewhere = await ask_backend(nextcloud, {"type": "room", "room": {**request, "roomid": "zzzz"}})
    assert elsewhere["error"]["code"] == "no_such_room"
    room.closed = True
    assert (await ask_backend(nextcloud, {"type": "room", "room": request}))["type"] == "error"


async def test_a_wrong_checksum_is_refused_as_talk_does_it(nextcloud: Nextcloud) -> None:
    answer = await ask_backend(nextcloud, {"type": "ping", "ping": {"roomid": "abcd"}}, secret="wrong")
    assert answer["error"]["code"] == "invalid_request"
    assert nextcloud.talk.refused_requests == 1


async def test_leaving_by_the_hpb_ends_the_nextcloud_session(nextcloud: Nextcloud) -> None:
    nextcloud.talk.rooms.create("abcd")
    session = nextcloud.talk.join_room("abcd", "user-1", "User 1")
    await ask_backend(
        nextcloud,
        {"type": "room", "room": {"roomid": "abcd", "userid": "user-1", "sessionid": session.id, "action": "leave"}},
    )
    assert not nextcloud.talk.rooms["abcd"].sessions


async def test_hello_tokens_verify_with_the_key_in_the_capabilities(nextcloud: Nextcloud) -> None:
    auth = nextcloud.talk.hello_auth("user-1", "User 1")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(nextcloud.url + "/ocs/v2.php/cloud/capabilities", headers=JSON)
    spreed = answer.json()["ocs"]["data"]["capabilities"]["spreed"]
    claims = jwt.decode(
        auth["params"]["token"],
        spreed["config"]["signaling"]["hello-v2-token-key"],
        algorithms=["EdDSA"],
        issuer=nextcloud.url,
    )
    assert claims["sub"] == "user-1"
    assert claims["userdata"] == {"displayname": "User 1"}
    assert "signaling-v3" in spreed["features"]


async def test_who_joins_and_leaves_the_call_is_told_to_the_hpb_and_signed() -> None:
    told: list[tuple[str, dict[str, Any], bool]] = []

    async def hpb(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (event := await receive())["type"] == "http.request":
            body += event["body"]
            if not event.get("more_body"):
                break
        headers = {name.decode().title(): value.decode() for name, value in scope["headers"]}
        told.append((scope["path"], json.loads(body), verify(nextcloud.signaling_secret, headers, body)))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with LoopbackServer(hpb) as server, Nextcloud(hpb_url=server.url) as nextcloud:
        nextcloud.talk.rooms.create("abcd")
        first = nextcloud.talk.join_room("abcd", "user-1", "User 1")
        second = nextcloud.talk.join_room("abcd", None, "Guest")
        await nextcloud.talk.join_call(first.id, 7)
        await nextcloud.talk.join_call(second.id, 3)
        await nextcloud.talk.leave_room(first.id)
        await nextcloud.talk.end_call_for_all("abcd")
    assert all(path == "/api/v1/room/abcd" and signed for path, _, signed in told)
    joined, _, left, ended = (message["incall"] for _, message, _ in told)
    assert [(entry["nextcloudSessionId"], entry["inCall"]) for entry in joined["changed"]] == [(first.id, 7)]
    assert [entry["nextcloudSessionId"] for entry in left["users"]] == [second.id], "who left is omitted"
    assert left["changed"] == []
    assert ended == {"incall": 0, "all": True}


async def test_the_room_language_goes_along_and_is_absent_where_nobody_set_one(nextcloud: Nextcloud) -> None:
    asked: list[dict[str, Any] | None] = []

    class App:
        status = 200

        async def request(
            self, app_id: str, method: str, route: str, *, user_id: str | None = None,
            params: dict[str, Any] | None = None, timeout_s: float = 3.0,
        ) -> ExAppAnswer:  # fmt: skip
            asked.append(params)
            return ExAppAnswer(self.status, None, 0.0)

    app = nextcloud.talk.ex_apps = App()
    room = nextcloud.talk.rooms.create("abcd")
    await nextcloud.talk.enable_captions("abcd", "nc-1", "user-1")
    app.status = 404
    await nextcloud.talk.set_language("abcd", "fr")
    app.status = 400
    await nextcloud.talk.set_language("abcd", "xx")
    await nextcloud.talk.enable_captions("abcd", "nc-1", "user-1")
    assert asked[0] == {"roomToken": "abcd", "ncSessionId": "nc-1", "enable": True}
    assert room.language == "fr", "404 is tolerated, 400 is not"
    assert asked[3] == {"roomToken": "abcd", "ncSessionId": "nc-1", "enable": True, "langId": "fr"}


async def test_without_json_asked_for_the_answer_is_xml(nextcloud: Nextcloud) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(nextcloud.url + "/ocs/v2.php/apps/spreed/api/v3/signaling/settings")
    assert answer.headers["content-type"].startswith("application/xml")


async def test_settings_name_the_turn_servers(nextcloud: Nextcloud) -> None:
    nextcloud.hpb_url = "http://127.0.0.1:1/"
    server = {"urls": ["turn:127.0.0.1:3478?transport=udp"], "username": "u", "credential": "c"}
    nextcloud.talk.turn_servers = [server]
    async with httpx.AsyncClient(trust_env=False) as client:
        path = "/ocs/v2.php/apps/spreed/api/v3/signaling/settings"
        answer = await client.get(nextcloud.url + path, headers=JSON)
        fake = base64.b64encode(b":wrong").decode()
        refused = await client.get(
            nextcloud.url + path, headers={**JSON, "EX-APP-ID": "live_transcription", "AUTHORIZATION-APP-API": fake}
        )
        missing = await client.get(nextcloud.url + path + "?token=zzzz", headers=JSON)
    assert answer.json()["ocs"]["data"]["turnservers"] == [server]
    assert answer.json()["ocs"]["data"]["server"] == "http://127.0.0.1:1/"
    assert refused.status_code == 401
    assert missing.status_code == 404

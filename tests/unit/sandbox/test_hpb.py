# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The signaling stand-in: hellos, rooms, events, messages, resume and restart, seen by a plain client."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from sandbox.hpb import V1_2_4, V2_0, HpbStandIn, TrustingNextcloud
from sandbox.hpb.nextcloud_client import checksum
from sandbox.hpb.throttle import Throttle
from tests.unit.sandbox.signaling_client import BACKEND, INTERNAL_SECRET, Client, internal_auth

ROOM = "abcd1234"


@pytest.fixture
async def hpb() -> AsyncIterator[HpbStandIn]:
    async with HpbStandIn(TrustingNextcloud(), None, internal_secret=INTERNAL_SECRET, throttle_delay_s=0) as hpb:
        yield hpb


async def talk_posts(hpb: HpbStandIn, kind: str, content: object, *, secret: str = "sandbox") -> int:
    body = json.dumps({"type": kind, kind: content}).encode()
    headers = {"Spreed-Signaling-Random": "r" * 64, "Spreed-Signaling-Checksum": checksum(secret, "r" * 64, body)}
    headers["Spreed-Signaling-Backend"] = BACKEND
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.post(f"{hpb.url}/api/v1/room/{ROOM}", content=body, headers=headers)).status_code


async def test_welcome_and_internal_hello_name_version_and_features(hpb: HpbStandIn) -> None:
    async with Client(hpb) as client:
        assert client.welcome["version"] == "2.1.1"
        assert "mcu" not in client.welcome["features"]  # this one has no SFU
        hello = await client.hello_internal()
        assert hello["id"] == "hello"
        assert "recipient-call" in hello["hello"]["server"]["features"]
        assert hello["hello"]["userid"] == ""
        assert client.resume_id != client.session_id


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        (internal_auth(secret="wrong"), "invalid_token"),
        (internal_auth(backend="https://cloud.example.com/"), "invalid_backend"),
        ({"type": "internal", "params": {"random": "short", "token": "x", "backend": BACKEND}}, "invalid_token"),
        ({"type": "internal", "params": {}}, "invalid_format"),
        ({"type": "elephant", "params": {}}, "invalid_format"),
        ({"url": "https://cloud.example.com/", "params": {"token": "user-1"}}, "invalid_backend"),
        ({"url": BACKEND, "params": {}}, "invalid_format"),
    ],
)
async def test_wrong_hellos_are_refused_and_another_may_follow(hpb: HpbStandIn, auth: dict[str, object], code: str) -> None:
    async with Client(hpb) as client:
        refused = await client.hello(auth)
        assert refused["error"]["code"] == code
        assert refused["id"] == "hello"
        assert (await client.hello_internal())["type"] == "hello"


async def test_hello_versions(hpb: HpbStandIn) -> None:
    async with Client(hpb) as client:
        assert (await client.hello(internal_auth(), version="9.0"))["error"]["code"] == "invalid_hello_version"
        ticket = {"url": BACKEND + "ocs/v2.php/apps/spreed/api/v3/signaling/backend", "params": {"ticket": "user-1"}}
        assert (await client.hello(ticket, version="1.0"))["hello"]["userid"] == "user-1"


async def test_an_hpb_without_internal_secret_knows_no_internal_clients() -> None:
    async with HpbStandIn(TrustingNextcloud(), None, throttle_delay_s=0) as hpb, Client(hpb) as client:
        for _ in range(12):
            assert (await client.hello_internal())["error"]["code"] == "invalid_client_type"


async def test_ten_failed_hellos_block_the_address(hpb: HpbStandIn) -> None:
    async with Client(hpb) as client:
        for _ in range(10):
            assert (await client.hello(internal_auth(secret="wrong")))["error"]["code"] == "invalid_token"
        assert (await client.hello_internal())["error"]["code"] == "too_many_requests"


async def test_a_restart_forgets_failed_hellos_and_may_bring_another_secret(hpb: HpbStandIn) -> None:
    async with Client(hpb) as client:
        for _ in range(10):
            await client.hello(internal_auth(secret="wrong"))
    await hpb.restart(internal_secret="wrong")
    async with Client(hpb) as client:
        assert (await client.hello_internal())["error"]["code"] == "invalid_token"
        assert (await client.hello(internal_auth(secret="wrong")))["type"] == "hello"


async def test_resume_ids_of_other_session_keys_count_as_guesses_and_those_of_ours_do_not(hpb: HpbStandIn) -> None:
    async with Client(hpb) as client:
        await client.hello_user("user-1")
    await hpb.restart()
    async with Client(hpb) as again:
        for _ in range(12):
            assert (await again.resume(client.resume_id))["error"]["code"] == "no_such_session"
    await hpb.restart(new_keys=True)
    async with Client(hpb) as again:
        for _ in range(10):
            assert (await again.resume(client.resume_id))["error"]["code"] == "no_such_session"
        assert (await again.resume(client.resume_id))["error"]["code"] == "too_many_requests"
        assert (await again.hello_internal())["type"] == "hello"


async def test_a_resume_that_fails_gives_no_more_time_for_a_hello() -> None:
    standin = HpbStandIn(TrustingNextcloud(), None, hello_timeout_s=0.3, throttle_delay_s=0)
    async with standin as hpb, Client(hpb) as client, asyncio.timeout(10):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.resume("unknown")
                await asyncio.sleep(0.05)


def test_throttle_delays_grow_and_end() -> None:
    throttle = Throttle(base_delay_s=0.1)
    delays = [throttle.failed("address", "hello", now=float(n)) for n in range(10)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 25.0
    assert throttle.blocked("address", "hello", now=10.0)
    assert not throttle.blocked("elsewhere", "hello", now=10.0)
    assert throttle.blocked("address", "hello", now=1800.0)
    assert not throttle.blocked("address", "hello", now=1801.0)
    for _ in range(10):
        throttle.failed("2001:db8::1", "hello", now=0.0)
    assert throttle.blocked("2001:db8::2", "hello", now=0.0), "a /64 network is one address"
    assert not throttle.blocked("2001:db8:0:1::1", "hello", now=0.0)


async def test_without_hello_the_server_says_bye() -> None:
    async with HpbStandIn(TrustingNextcloud(), None, hello_timeout_s=0.02) as hpb, Client(hpb) as client:
        assert (await client.expect("bye"))["reason"] == "hello_timeout"
        with pytest.raises(ConnectionClosed):
            await client.receive()


async def test_hello_comes_first_and_garbage_is_answered(hpb: HpbStandIn) -> None:
    async with Client(hpb) as client:
        await client.send(id="1", type="room", room={"roomid": ROOM})
        assert (await client.receive()) == {
            "id": "1",
            "type": "error",
            "error": {"code": "hello_expected", "message": "Expected Hello request."},
        }
        for garbage in ("", "{", "[]", '{"type":7}', b"\x00", '{"type":"message","message":{}}'):
            await client.socket.send(garbage)
            assert (await client.expect("error"))["code"] == "invalid_format"
        await client.hello_internal()
        await client.send(type="unheard-of")
        await client.silence()


async def test_frames_over_64_kib_end_the_connection(hpb: HpbStandIn) -> None:
    async with Client(hpb) as client:
        await client.socket.send("x" * 65537)
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_an_internal_client_that_joins_learns_who_is_there(hpb: HpbStandIn) -> None:
    async with Client(hpb) as user, Client(hpb) as app:
        await user.hello_user("user-1")
        joined = await user.join(ROOM, "nc-1")
        assert joined["id"] == "join"
        assert joined["room"]["roomid"] == ROOM
        assert joined["room"]["properties"] == {"name": ROOM}
        entry = {
            "sessionid": user.session_id,
            "userid": "user-1",
            "user": {"displayname": "user-1"},
            "roomsessionid": "nc-1",
        }
        assert (await user.expect("event"))["join"] == [entry]

        entries = [{"sessionId": "nc-1", "nextcloudSessionId": "nc-1", "inCall": 3, "userId": "user-1"}]
        assert await talk_posts(hpb, "incall", {"incall": 3, "changed": entries, "users": entries}) == 200
        update = (await user.expect("event"))["update"]
        assert update["users"] == [{**entries[0], "sessionId": user.session_id}]
        assert "changed" not in update

        await app.hello_internal()
        assert (await app.join(ROOM))["room"]["roomid"] == ROOM
        assert (await app.expect("event"))["join"][0]["sessionid"] == app.session_id
        assert (await app.expect("event"))["join"] == [entry]
        users = (await app.expect("event"))["update"]["users"]
        assert users[0]["nextcloudSessionId"] == "nc-1"
        assert {"internal": True, "inCall": 0, "sessionId": app.session_id}.items() <= users[1].items()
        assert "nextcloudSessionId" not in users[1]
        joined_app = (await user.expect("event"))["join"][0]
        assert joined_app["features"] == ["internal-incall"]
        assert "roomsessionid" not in joined_app


async def test_joining_twice_a_closed_room_and_leaving(hpb: HpbStandIn) -> None:
    nextcloud = hpb.hub.nextcloud
    assert isinstance(nextcloud, TrustingNextcloud)
    nextcloud.closed_rooms.add("closed")
    async with Client(hpb) as user, Client(hpb) as other:
        await user.hello_user("user-1")
        assert (await user.join("closed"))["error"]["code"] == "no_such_room"
        await user.join(ROOM, "nc-1")
        await user.until("event", "room/join")
        again = await user.join(ROOM, "nc-1")
        assert again["error"]["code"] == "already_joined"
        assert again["error"]["details"]["room"]["roomid"] == ROOM
        await other.hello_user("user-2")
        await other.join(ROOM, "nc-2")
        assert (await user.expect("event"))["join"][0]["userid"] == "user-2"
        await other.send(type="room", room={"roomid": ""})
        assert (await other.until("room"))["roomid"] == ""
        assert (await user.expect("event"))["leave"] == [other.session_id]
        await user.send(id="bye", type="bye", bye={})
        assert (await user.receive()) == {"id": "bye", "type": "bye"}
        await user.socket.wait_closed()
    assert nextcloud.left == [(ROOM, "nc-2"), (ROOM, "nc-1")]


async def test_the_same_nextcloud_session_replaces_its_forerunner(hpb: HpbStandIn) -> None:
    async with Client(hpb) as first, Client(hpb) as second:
        await first.hello_user("user-1")
        await first.join(ROOM, "nc-1")
        await second.hello_user("user-1")
        await second.join(ROOM, "nc-1")
        assert (await first.until("bye"))["reason"] == "room_session_reconnected"


async def test_call_ends_for_all(hpb: HpbStandIn) -> None:
    async with Client(hpb) as user:
        await user.hello_user("user-1")
        await user.join(ROOM, "nc-1")
        entries = [{"sessionId": "nc-1", "inCall": 3}]
        await talk_posts(hpb, "incall", {"incall": 3, "changed": entries, "users": entries})
        await user.until("event", "participants/update")
        await talk_posts(hpb, "incall", {"incall": 0, "all": True})
        assert (await user.expect("event"))["update"] == {"roomid": ROOM, "incall": 0, "all": True}
        await talk_posts(hpb, "incall", {"incall": 0, "all": True})
        await user.silence()


async def test_talk_has_to_sign(hpb: HpbStandIn) -> None:
    assert await talk_posts(hpb, "incall", {}, secret="wrong") == 403
    assert await talk_posts(hpb, "elephant", {}) == 400
    assert await talk_posts(hpb, "incall", {}) == 200


async def test_disinvited_switched_and_deleted(hpb: HpbStandIn) -> None:
    async with Client(hpb) as user, Client(hpb) as app:
        await app.hello_internal()
        await app.join(ROOM)
        await user.hello_user("user-1")
        await user.join(ROOM, "nc-1")
        await talk_posts(hpb, "switchto", {"roomid": "breakout", "sessions": ["nc-1"]})
        assert (await user.until("event", "room/switchto"))["switchto"] == {"roomid": "breakout"}
        await talk_posts(hpb, "disinvite", {"sessionids": ["nc-1"], "userids": []})
        disinvite = (await user.until("event", "roomlist/disinvite"))["disinvite"]
        assert disinvite == {"roomid": ROOM, "reason": "disinvited"}
        await user.socket.wait_closed()
        assert (await app.until("event", "room/leave"))["leave"] == [user.session_id]
        await talk_posts(hpb, "delete", {"userids": []})
        await app.until("event", "room/delete")
        assert (await app.until("room"))["roomid"] == ""


async def test_phones_are_virtual_and_messages_to_them_go_to_their_bridge(hpb: HpbStandIn) -> None:
    async with Client(hpb) as bridge, Client(hpb) as app:
        await app.hello_internal()
        await app.join(ROOM)
        await bridge.hello_internal()
        await bridge.join(ROOM)
        added = {"sessionid": "phone-1", "roomid": ROOM, "userid": "", "incall": 9}
        await bridge.send(type="internal", internal={"type": "addsession", "addsession": added})
        phones: list[dict[str, Any]] = []
        while not phones:
            users = (await app.until("event", "participants/update"))["update"]["users"]
            phones = [entry for entry in users if entry.get("virtual")]
        phone = phones[0]
        assert phone["inCall"] == 9
        await app.to_session(phone["sessionId"], {"type": "x"})
        message = await bridge.until("message", "x")
        assert message["recipient"] == {"type": "session", "sessionid": "phone-1"}
        await bridge.send(
            type="internal", internal={"type": "removesession", "removesession": {"sessionid": "phone-1", "roomid": ROOM}}
        )
        assert (await app.until("event", "room/leave"))["leave"] == [phone["sessionId"]]


async def test_internal_in_call_is_told(hpb: HpbStandIn) -> None:
    async with Client(hpb) as app, Client(hpb) as user:
        await app.hello_internal()
        await app.join(ROOM)
        await user.hello_user("user-1")
        await user.join(ROOM, "nc-1")
        await app.send(type="internal", internal={"type": "incall", "incall": {"incall": 1}})
        users = (await user.until("event", "participants/update"))["update"]["users"]
        assert [(entry["internal"], entry["inCall"]) for entry in users] == [(True, 1)]


TRANSCRIPT = {"type": "transcript", "message": "text", "langId": "en", "speakerSessionId": "s", "final": True}


async def test_transcripts_reach_one_session_a_user_the_room_or_the_call(hpb: HpbStandIn) -> None:
    async with Client(hpb) as app, Client(hpb) as here, Client(hpb) as there:
        await app.hello_internal()
        await app.join(ROOM)
        for client, number in ((here, 1), (there, 2)):
            await client.hello_user(f"user-{number}")
            await client.join(ROOM, f"nc-{number}")
        entries = [{"sessionId": "nc-1", "inCall": 3}]
        await talk_posts(hpb, "incall", {"incall": 3, "changed": entries, "users": entries})

        await app.to_session(here.session_id, TRANSCRIPT)
        message = await here.until("message")
        assert message == {"sender": {"type": "session", "sessionid": app.session_id}, "data": TRANSCRIPT}
        await app.message({"type": "user", "userid": "user-1"}, TRANSCRIPT)
        assert (await here.until("message"))["sender"]["type"] == "user"
        await app.message({"type": "call"}, TRANSCRIPT)
        assert (await here.until("message"))["sender"]["type"] == "call"
        await app.to_session("nobody", TRANSCRIPT)
        await app.message({"type": "room"}, TRANSCRIPT)
        assert (await here.until("message"))["sender"]["type"] == "room"
        assert (await there.until("message"))["sender"]["type"] == "room"  # the first that it got


async def test_what_a_participant_writes_is_relayed_octet_by_octet(hpb: HpbStandIn) -> None:
    async with Client(hpb) as app, Client(hpb) as guest:
        await app.hello_internal()
        await app.join(ROOM)
        await guest.hello_user("user-1")
        await guest.join(ROOM, "nc-1")
        data = b'{"type":"chat","text":"\xff\xfe \\ud800 \xc3\xa9"}'
        await guest.socket.send(b'{"type":"message","message":{"recipient":{"type":"room"},"data":%s}}' % data, text=True)
        while b'"message"' not in (relayed := await app.socket.recv(decode=False)):
            pass
        assert b"\xff\xfe \\ud800" in relayed


async def test_version_1_2_4_wants_a_room_type_and_knows_no_call_recipient() -> None:
    nextcloud = TrustingNextcloud()
    from sandbox.sfu import Sfu

    async with (
        Sfu() as sfu,
        HpbStandIn(nextcloud, sfu, internal_secret=INTERNAL_SECRET, hpb_version=V1_2_4) as hpb,
        Client(hpb) as app,
        Client(hpb) as user,
    ):
        assert "recipient-call" not in app.welcome["features"]
        assert "mcu" in app.welcome["features"]
        await app.hello_internal()
        await user.hello_user("user-1")
        await app.to_session(user.session_id, TRANSCRIPT)
        assert (await app.expect("error"))["code"] == "invalid_format"
        await app.message({"type": "call"}, TRANSCRIPT)
        assert (await app.expect("error"))["code"] == "invalid_format"
        await app.to_session(user.session_id, {**TRANSCRIPT, "roomType": "video"})
        assert (await user.until("message"))["data"]["message"] == "text"


async def test_resume_brings_the_same_session_and_what_it_missed_in_order(hpb: HpbStandIn) -> None:
    async with Client(hpb) as user, Client(hpb) as app:
        await user.hello_user("user-1")
        await user.join(ROOM, "nc-1")
        await app.hello_internal()
        await app.join(ROOM)
        await user.until("event", "participants/update")
        assert hpb.cut(user.session_id) == 1
        with pytest.raises(ConnectionClosed) as closed:
            await user.receive()
        assert closed.value.rcvd is None  # 1006: cut without a close frame
        for number in range(20):
            await app.to_session(user.session_id, {"type": "n", "number": number})
        await app.settle()
        async with Client(hpb) as again:
            hello = await again.resume(user.resume_id)
            assert hello["hello"]["sessionid"] == user.session_id
            numbers = [(await again.expect("message"))["data"]["number"] for _ in range(20)]
            assert numbers == list(range(20))
            assert (await again.expect("event"))["target"] == "participants"
            assert (await again.join(ROOM, "nc-1"))["error"]["code"] == "already_joined"


async def test_a_session_without_connection_leaves_after_its_life() -> None:
    async with (
        HpbStandIn(TrustingNextcloud(), None, internal_secret=INTERNAL_SECRET, session_life_s=0.02) as hpb,
        Client(hpb) as user,
        Client(hpb) as app,
    ):
        await user.hello_user("user-1")
        await user.join(ROOM, "nc-1")
        await app.hello_internal()
        await app.join(ROOM)
        hpb.cut(user.session_id)
        assert (await app.until("event", "room/leave"))["leave"] == [user.session_id]
        async with Client(hpb) as again:
            assert (await again.resume(user.resume_id))["error"]["code"] == "no_such_session"
            assert (await again.hello_user("user-1"))["type"] == "hello"


async def test_a_resume_takes_the_session_from_its_earlier_connection(hpb: HpbStandIn) -> None:
    async with Client(hpb) as user, Client(hpb) as again:
        await user.hello_user("user-1")
        assert (await again.resume(user.resume_id))["hello"]["sessionid"] == user.session_id
        assert (await user.expect("bye"))["reason"] == "session_resumed"
        await user.socket.wait_closed()
        await again.join(ROOM, "nc-1")
        assert (await again.expect("event"))["type"] == "join"


async def test_restart_voids_every_session_and_room(hpb: HpbStandIn) -> None:
    async with Client(hpb) as user:
        await user.hello_user("user-1")
        await user.join(ROOM, "nc-1")
        await hpb.restart(down_s=0.05)
        with pytest.raises(ConnectionClosed):
            await user.until("nothing")
        async with Client(hpb) as again:
            assert (await again.resume(user.resume_id))["error"]["code"] == "no_such_session"
            await again.hello_user("user-1")
            await again.join(ROOM, "nc-1")
            assert [entry["sessionid"] for entry in (await again.expect("event"))["join"]] == [again.session_id]


async def test_faults_by_http(hpb: HpbStandIn) -> None:
    async with Client(hpb) as user, httpx.AsyncClient(trust_env=False, base_url=hpb.url) as admin:
        await user.hello_user("user-1")
        sent = await admin.post("/sandbox/send_raw", json={"text": "not json", "session": user.session_id})
        assert sent.json() == {"count": 1}
        assert await user.socket.recv() == "not json"
        assert (await admin.post("/sandbox/faults", json={"elephants": 1})).status_code == 400
        assert (await admin.post("/sandbox/elephant")).status_code == 400
        assert (await admin.get("/sandbox/state")).json()["sessions"] == {user.session_id: "client"}
        assert (await admin.post("/sandbox/cut")).json() == {"count": 1}
        with pytest.raises(ConnectionClosed):
            await user.receive()


async def test_delayed_frames_keep_their_order(hpb: HpbStandIn) -> None:
    async with Client(hpb) as user, Client(hpb) as app:
        await user.hello_user("user-1")
        await app.hello_internal()
        hpb.faults.delay_s = 0.05
        await app.to_session(user.session_id, {"type": "n", "number": 1})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await user.socket.recv()
        hpb.faults.delay_s = 0.0
        await app.to_session(user.session_id, {"type": "n", "number": 2})
        numbers = [(await user.expect("message"))["data"]["number"] for _ in range(2)]
        assert numbers == [1, 2]


async def test_versions_differ_in_what_they_announce() -> None:
    async with HpbStandIn(TrustingNextcloud(), None, hpb_version=V2_0) as hpb, Client(hpb) as client:
        assert client.welcome["version"] == "2.0.2"
        assert {"recipient-call", "join-features"} <= set(client.welcome["features"])
        assert "chat-relay" not in client.welcome["features"]
        async with httpx.AsyncClient(trust_env=False) as browser:
            assert (await browser.get(hpb.url + "/api/v1/welcome")).json()["version"] == "2.0.2"
            assert (await browser.get(hpb.url + "/elsewhere")).status_code == 404

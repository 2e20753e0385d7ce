# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The stand-in against the real HPB: the same conversation with both, and every client must receive the same messages.

Compared per client and without order across sessions: the real server reports several sessions concurrently.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from sandbox.caller import Caller, tone
from sandbox.hpb import V1_2_4, V2_0, V2_1, HpbStandIn, HpbVersion
from sandbox.hpb import Nextcloud as NextcloudClient
from sandbox.nextcloud import Nextcloud
from sandbox.rig import Rig, RigUnavailable, hpb_build, janus_program
from sandbox.sfu import Sfu

ROOM = "abcd1234"
#: After each frame, until both servers have sent everything.
SETTLE_S = 0.15
TRANSCRIPT = {"type": "transcript", "message": "text", "langId": "en", "speakerSessionId": "x", "final": True}
EMPTY_SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


class Witness:
    """Sends given messages and records all that it receives."""

    def __init__(self, url: str, heard: list[Any]) -> None:
        self._url = url
        self._heard = heard
        self.hello: dict[str, Any] = {}
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None

    async def come(self) -> None:
        self._socket = await connect(self._url, proxy=None)
        self._reading = asyncio.create_task(self._read(self._socket))
        await asyncio.sleep(SETTLE_S)

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                frame = json.loads(text)
                self._heard.append(frame)
                if frame["type"] == "hello":
                    self.hello = frame["hello"]
        except ConnectionClosed:
            pass

    async def say(self, text: str) -> None:
        assert self._socket is not None
        await self._socket.send(text)
        await asyncio.sleep(SETTLE_S)

    async def send(self, kind: str, content: Any = None, message_id: str = "") -> None:
        identity = {"id": message_id} if message_id else {}
        await self.say(json.dumps({**identity, "type": kind, **({kind: content} if content is not None else {})}))

    async def tell(self, message_id: str, recipient: dict[str, Any], data: Any) -> None:
        await self.send("message", {"recipient": recipient, "data": data}, message_id)

    async def go(self, *, silently: bool = False) -> None:
        assert self._socket is not None
        assert self._reading is not None
        if silently:
            self._socket.transport.abort()
        await self._socket.close()
        await self._reading


def internal(secret: str, backend: str) -> dict[str, Any]:
    random = secrets.token_hex(32)
    token = hmac.new(secret.encode(), random.encode(), hashlib.sha256).hexdigest()
    return {"type": "internal", "params": {"random": random, "token": token, "backend": backend}}


async def converse(url: str, secret: str, nextcloud: Nextcloud) -> dict[str, list[Any]]:
    """What the app and a user hear in a call with everything that the stand-in claims to know."""
    heard: dict[str, list[Any]] = {"app": [], "user": [], "stranger": []}
    talk, backend = nextcloud.talk, nextcloud.url + "/"
    talk.rooms.create(ROOM)
    app, user = Witness(url, heard["app"]), Witness(url, heard["user"])

    await app.come()
    await app.send("room", {"roomid": ROOM}, "early")
    refused = [internal("wrong", backend), internal(secret, "https://cloud.example.com/"), {"type": "elephant", "params": {}}]
    for number, auth in enumerate(refused):
        await app.send("hello", {"version": "2.0", "auth": auth}, f"refused-{number}")
        await asyncio.sleep(0.1 * 2**number)  # the answer to a failed hello is delayed
    await app.send("hello", {"version": "7.0", "auth": internal(secret, backend)}, "version")
    await app.send("hello", {"version": "2.0", "features": ["internal-incall"], "auth": internal(secret, backend)}, "hello")
    for garbage in ("garbage", "[]", '{"type":"unheard-of"}', '{"id":"7","type":"message","message":{}}'):
        await app.say(garbage)

    await user.come()
    await user.send("hello", {"version": "2.0", "auth": talk.hello_auth("user-1", "User 1")}, "hello")
    session = talk.join_room(ROOM, "user-1", "User 1")
    await user.send("room", {"roomid": "nowhere"}, "nowhere")
    await user.send("room", {"roomid": ROOM, "sessionid": session.id}, "join")
    await user.send("room", {"roomid": ROOM, "sessionid": session.id}, "again")
    await talk.join_call(session.id)
    await app.send("room", {"roomid": ROOM}, "join")
    await app.send("room", {"roomid": ROOM}, "again")

    to_user = {"type": "session", "sessionid": user.hello["sessionid"]}
    recipients = (
        to_user,
        {"type": "user", "userid": "user-1"},
        {"type": "room"},
        {"type": "call"},
        {"type": "session", "sessionid": "x"},
        {"type": "nobody"},
    )
    for number, recipient in enumerate(recipients):
        await app.tell(f"transcript-{number}", recipient, TRANSCRIPT)
        await app.tell(f"video-{number}", recipient, {**TRANSCRIPT, "roomType": "video"})
    media: tuple[dict[str, Any], ...] = (
        {"type": "answer", "payload": {"type": "answer", "sdp": "nonsense"}},
        {"type": "answer", "payload": {"type": "answer", "sdp": EMPTY_SDP}},
        {"type": "candidate", "payload": {"candidate": {"candidate": ""}}},
        {"type": "requestoffer", "roomType": "elephant"},
    )
    for number, data in enumerate(media):
        await app.tell(f"media-{number}", to_user, {"roomType": "video", **data})

    # A participant's offers that the HPB cannot read as such: it relays them as they are.
    payload = {"type": "offer", "sdp": EMPTY_SDP}
    offer = {"type": "offer", "roomType": "video", "sid": "7", "payload": payload}
    unread: tuple[dict[str, Any], ...] = (
        {"bitrate": "x"},
        {"bitrate": True},
        {"sid": 7},
        {"roomType": ["video"]},
        {"payload": [payload]},
        {"payload": {**payload, "x": 10**400}},
    )
    for number, change in enumerate(unread):
        await user.tell(f"unread-{number}", {"type": "session", "sessionid": app.hello["sessionid"]}, {**offer, **change})
    await user.tell("to-all", {"type": "room"}, offer)

    await app.send("internal", {"type": "incall", "incall": {"incall": 1}})
    await app.send("internal", {"type": "incall", "incall": {"incall": 0}})
    phone = {"sessionid": "phone", "roomid": ROOM}
    await app.send("internal", {"type": "addsession", "addsession": {**phone, "userid": "", "flags": 1, "incall": 9}})
    await app.send("internal", {"type": "updatesession", "updatesession": {**phone, "incall": 0}})
    await app.send("internal", {"type": "removesession", "removesession": phone})

    async with Caller(url, nextcloud, ROOM, "user-2", "User 2", tone(10.0)) as speaker:
        await asyncio.sleep(SETTLE_S)
        await app.tell(
            "offer", {"type": "session", "sessionid": speaker.session_id}, {"type": "requestoffer", "roomType": "video"}
        )
        await asyncio.sleep(SETTLE_S)
        await app.go(silently=True)
        await asyncio.sleep(2 * SETTLE_S)  # what the real one writes before it notices the cut is lost
        to_app = {"type": "session", "sessionid": app.hello["sessionid"]}
        for number in range(3):
            await user.tell("", to_app, {"type": "missed", "number": number})
        await talk.leave_call(session.id)
        resume = {"version": "2.0", "resumeid": app.hello["resumeid"]}
        await app.come()
        await app.send("hello", resume, "resume")
        await app.send("room", {"roomid": ROOM}, "still")
        stranger = Witness(url, heard["stranger"])
        await stranger.come()
        await stranger.send("hello", {**resume, "resumeid": "nonsense"}, "resume")
        await stranger.go()
        await talk.join_call(session.id)
    await asyncio.sleep(2 * SETTLE_S)
    await talk.end_call_for_all(ROOM)
    await asyncio.sleep(SETTLE_S)
    await talk.notifier.sessions_removed(talk.rooms[ROOM], [session.id])
    await asyncio.sleep(SETTLE_S)
    await app.send("room", {"roomid": ""}, "leave")
    await app.send("bye", {}, "bye")
    for witness in (app, user):
        await witness.go()
    return heard


def comparable(frames: list[Any]) -> Counter[str]:
    """Without what differs from run to run: ids by order of appearance, times, SDPs, build numbers, an SFU's own candidates."""
    known: dict[str, str] = {}

    def plain(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {
                name: plain(value[name], name)
                for name in sorted(value)
                if name not in ("lastPing", "sid", "version", "details")
            }
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, str) and (key == "sdp" or len(value) > 45) and " " not in value.split("\r\n", 1)[0]:
            return "sdp" if key == "sdp" else known.setdefault(value, f"id-{len(known)}")
        return value

    ours = [frame for frame in frames if frame.get("message", {}).get("data", {}).get("type") != "candidate"]
    return Counter(json.dumps(plain(frame), sort_keys=True) for frame in ours)


@pytest.mark.rig
@pytest.mark.parametrize(("series", "hpb_version"), [("1.2", V1_2_4), ("2.0", V2_0), ("2.1", V2_1)])
async def test_the_stand_in_says_what_the_real_server_says(series: str, hpb_version: HpbVersion, tmp_path: Path) -> None:
    try:
        janus_program()
        hpb_build(series)
    except RigUnavailable as error:
        pytest.skip(str(error))
    async with (
        Nextcloud() as nextcloud,
        Rig(nextcloud.url, nextcloud.signaling_secret, hpb_series=series, directory=tmp_path) as rig,
    ):
        nextcloud.hpb_url = rig.hpb_url
        real = await converse(rig.signaling_url, rig.internal_secret, nextcloud)
    async with Nextcloud() as nextcloud:
        side = NextcloudClient(nextcloud.url, nextcloud.signaling_secret)
        async with Sfu() as sfu, HpbStandIn(side, sfu, internal_secret="secret", hpb_version=hpb_version) as hpb:
            nextcloud.hpb_url = hpb.url
            stand_in = await converse(hpb.websocket_url, "secret", nextcloud)
        await side.aclose()
    for witness in real:
        told, also_told = comparable(real[witness]), comparable(stand_in[witness])
        assert told - also_told == Counter(), f"only the real server sent this to the {witness}"
        assert also_told - told == Counter(), f"only the stand-in sent this to the {witness}"

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The HPB's side of a session as frames, and a client that has joined the room."""

from __future__ import annotations

import json
from typing import Any

from live_transcription.config import HpbConfig
from live_transcription.signaling.events import SignalingEvent
from live_transcription.signaling.protocol import SignalingProtocol
from live_transcription.signaling.requests import Recipient
from live_transcription.types import Caption, Secret

ROOM = "r00mt0ken"
WELCOME = '{"type":"welcome","welcome":{"version":"2.0.2","features":["mcu","recipient-call","welcome","hello-v2"]}}'
RANDOM = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#: printf %s "$RANDOM" | openssl dgst -sha256 -hmac MySecretValue
TOKEN = "12ecc398fb5c532b2b18bfb32f7b3a5a10708c415e06d179056dc705f81627f5"
CAPTION = Caption(speaker="speaker-1", text="Grüße", language="de")
EVERYBODY, ONE = Recipient(None), Recipient("listener-1")


def protocol(**options: Any) -> SignalingProtocol:
    config = HpbConfig("wss://signaling.example.com", Secret("MySecretValue"), "https://cloud.example.com")
    return SignalingProtocol(config, ROOM, random_hex=lambda: RANDOM, **options)


def sent(client: SignalingProtocol) -> list[dict[str, Any]]:
    frames = []
    while (frame := client.next_frame()) is not None:
        frames.append(json.loads(frame.text))
    return frames


def hello_reply(request_id: str, session_id: str = "session-1", features: str = '["mcu","recipient-call"]') -> str:
    return (
        f'{{"id":"{request_id}","type":"hello","hello":{{"version":"2.0","sessionid":"{session_id}","resumeid":"resume-of-{session_id}",'
        f'"userid":"","server":{{"version":"2.0.2","features":{features}}}}}}}'
    )


def room_reply(request_id: str, room: str = ROOM) -> str:
    return f'{{"id":"{request_id}","type":"room","room":{{"roomid":"{room}","properties":{{"name":"x"}}}}}}'


def error(code: str, request_id: str | None = None) -> str:
    return json.dumps(
        {"type": "error", "error": {"code": code, "message": "secret words"}} | ({"id": request_id} if request_id else {})
    )


def in_room(client: SignalingProtocol | None = None, session_id: str = "session-1", now: float = 0.0) -> SignalingProtocol:
    client = client or protocol()
    client.connected(now)
    client.receive_text(WELCOME, now)
    client.permit_hello(now)
    client.receive_text(hello_reply(sent(client)[-1]["id"], session_id), now)
    client.receive_text(room_reply(sent(client)[-1]["id"]), now)
    assert client.in_room
    client.take_events()
    return client


def events_of(client: SignalingProtocol, frame: str | dict[str, Any]) -> list[SignalingEvent]:
    client.receive_text(frame if isinstance(frame, str) else json.dumps(frame), 10.0)
    return client.take_events()

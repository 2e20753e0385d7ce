# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The session as the HPB sees it: frames written out as JSON, time passed in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.config import HpbConfig
from live_transcription.errors import RoomRefused, SignalingRefused
from live_transcription.signaling.events import (
    CallEndedForAll,
    CandidateReceived,
    InCall,
    OfferReceived,
    Participant,
    ParticipantsJoined,
    ParticipantsLeft,
    ParticipantsUpdated,
    RemovedFromRoom,
    SessionInterrupted,
    SessionStarted,
    SignalingEvent,
    SubscribeFailed,
)
from live_transcription.signaling.protocol import SignalingProtocol
from live_transcription.signaling.requests import Recipient
from live_transcription.types import Caption, Secret

ROOM = "r00mt0ken"
WELCOME = '{"type":"welcome","welcome":{"version":"2.0.2","features":["mcu","recipient-call","welcome","hello-v2"]}}'
RANDOM = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#: printf %s "$RANDOM" | openssl dgst -sha256 -hmac MySecretValue
TOKEN = "12ecc398fb5c532b2b18bfb32f7b3a5a10708c415e06d179056dc705f81627f5"
FINAL = Caption(speaker="speaker-1", text="Grüße", language="de", final=True)
PARTIAL = Caption(speaker="speaker-1", text="Grü", language="de", final=False)
EVERYBODY, ONE = Recipient.call(), Recipient.session("listener-1")


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


# Hello and room.


def test_the_way_into_the_room() -> None:
    client = protocol()
    client.connected(100.0)
    assert sent(client) == []
    client.receive_text(WELCOME, 100.1)
    assert client.hello_wanted
    assert sent(client) == []
    client.permit_hello(100.2)
    (hello,) = sent(client)
    assert hello == {
        "id": "1",
        "type": "hello",
        "hello": {
            "version": "2.0",
            "features": ["internal-incall"],
            "auth": {
                "type": "internal",
                "params": {
                    "random": RANDOM,
                    "token": TOKEN,
                    "backend": "https://cloud.example.com/",
                },
            },
        },
    }
    client.receive_text(hello_reply("1"), 100.3)
    assert client.authenticated
    assert sent(client) == [{"id": "2", "type": "room", "room": {"roomid": ROOM}}]
    assert not client.in_room
    client.receive_text(room_reply("2"), 100.4)
    assert client.in_room
    assert client.deadline is None
    assert client.take_events() == [SessionStarted("session-1", False, "2.0.2", client.features)]
    assert client.features >= {"mcu", "recipient-call", "hello-v2"}


def test_an_old_server_without_welcome_gets_its_hello_after_a_second() -> None:
    client = protocol()
    client.connected(100.0)
    assert client.deadline == 101.0
    client.timer(100.9)
    assert not client.hello_wanted
    client.timer(101.0)
    client.permit_hello(101.0)
    client.receive_text(hello_reply(sent(client)[0]["id"]), 101.1)
    assert sent(client)[0]["type"] == "room"
    assert client.features == {"mcu", "recipient-call"}


@pytest.mark.parametrize("place", ["welcome", "hello", "hello of a server without welcome"])
def test_a_server_without_sfu_is_refused(place: str) -> None:
    client = protocol()
    client.connected(0.0)
    if place == "welcome":
        client.receive_text('{"type":"welcome","welcome":{"version":"2.0.2","features":["recipient-call"]}}', 0.1)
        assert sent(client) == []
    else:
        if place == "hello":
            client.receive_text('{"type":"welcome","welcome":{"version":"2.0.2"}}', 0.1)
        else:
            client.timer(1.0)
        client.permit_hello(1.0)
        client.receive_text(hello_reply(sent(client)[0]["id"], features="[]"), 1.1)
        assert [frame["type"] for frame in sent(client)] == ["bye"]
    assert isinstance(client.failure, SignalingRefused)
    assert client.failure.reason == "no_sfu"
    assert "Janus" in client.failure.fix


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("invalid_token", "LT_INTERNAL_SECRET"),
        ("invalid_backend", "server.conf"),
        ("invalid_client_type", "internalsecret"),
        ("too_many_requests", "12 hours"),
        ("invalid_format", "1.2.4"),
        ("invalid_hello_version", "1.2.4"),
    ],
)
def test_fatal_answers_to_hello(code: str, fix: str) -> None:
    client = protocol()
    client.connected(0.0)
    client.receive_text(WELCOME, 0.0)
    client.permit_hello(0.0)
    client.receive_text(error(code, "1" if code != "invalid_format" else None), 0.1)
    assert isinstance(client.failure, SignalingRefused)
    assert client.failure.reason == code
    assert fix in client.failure.fix
    assert not client.authenticated
    assert "MySecretValue" not in str(client.failure)


def test_another_answer_to_hello_is_tried_again() -> None:
    client = protocol()
    client.connected(0.0)
    client.receive_text(WELCOME, 0.0)
    client.permit_hello(0.0)
    client.receive_text(error("session_limit_exceeded", "1"), 0.1)
    assert client.failure is None
    assert client.drop_reason is not None
    client.connection_lost(client.drop_reason, 0.2)
    assert client.take_events() == []
    in_room(client, now=0.3)


@pytest.mark.parametrize("silence", ["hello", "room"])
def test_silence_gives_the_websocket_up(silence: str) -> None:
    client = protocol()
    client.connected(0.0)
    client.receive_text(WELCOME, 0.0)
    client.permit_hello(0.0)
    sent(client)
    wait = client.timeouts.hello_s
    if silence == "room":
        client.receive_text(hello_reply("1"), 0.0)
        wait = client.timeouts.join_s
    assert client.deadline == wait
    client.timer(wait - 0.1)
    assert client.drop_reason is None
    client.timer(wait)
    assert client.drop_reason is not None


@pytest.mark.parametrize("answer", [error("no_such_room", "2"), error("internal_error", "2"), room_reply("", "")])
def test_a_room_that_does_not_take_us(answer: str) -> None:
    client = protocol()
    client.connected(0.0)
    client.receive_text(WELCOME, 0.0)
    client.permit_hello(0.0)
    client.receive_text(hello_reply("1"), 0.0)
    sent(client)
    client.receive_text(error("something_else", "99"), 0.1)
    assert client.failure is None
    client.receive_text(answer, 0.1)
    assert isinstance(client.failure, RoomRefused)
    assert [frame["type"] for frame in sent(client)] == ["bye"]


# Drops.


def test_a_resumed_session_does_not_join_again() -> None:
    client = in_room()
    client.connection_lost("the websocket broke", 50.0)
    assert client.take_events() == [SessionInterrupted("the websocket broke")]
    assert client.session_id == "session-1"
    client.connection_lost("no connection", 51.0)
    assert client.take_events() == []
    client.connected(52.0)
    client.receive_text(WELCOME, 52.0)
    assert not client.hello_wanted
    (resume,) = sent(client)
    assert resume == {"id": resume["id"], "type": "hello", "hello": {"version": "2.0", "resumeid": "resume-of-session-1"}}
    client.receive_text(hello_reply(resume["id"]), 52.1)
    assert sent(client) == []
    assert client.take_events() == [SessionStarted("session-1", True, "2.0.2", client.features)]


def test_a_resume_that_the_server_does_not_know_becomes_a_new_session_on_the_same_websocket() -> None:
    client = in_room()
    client.connection_lost("cut", 50.0)
    client.connected(52.0)
    client.receive_text(WELCOME, 52.0)
    client.receive_text(error("no_such_session", sent(client)[0]["id"]), 52.1)
    assert client.hello_wanted
    assert client.drop_reason is None
    client.permit_hello(52.1)
    (hello,) = sent(client)
    assert "auth" in hello["hello"]
    client.receive_text(hello_reply(hello["id"], "session-2"), 52.2)
    (join,) = sent(client)
    client.receive_text(room_reply(join["id"]), 52.3)
    assert client.take_events() == [
        SessionInterrupted("cut"),
        SessionStarted("session-2", False, "2.0.2", client.features),
    ]


def test_a_lockout_of_resumes_is_no_lockout_of_hellos() -> None:
    """After a restart with other keys no old resume id can be read, and the HPB counts that as an attack."""
    client = in_room()
    client.connection_lost("cut", 50.0)
    client.connected(52.0)
    client.receive_text(WELCOME, 52.0)
    client.receive_text(error("too_many_requests", sent(client)[0]["id"]), 52.1)
    assert client.failure is None
    assert client.hello_wanted


@pytest.mark.parametrize("answer", ["silence", "bye"])
def test_a_resume_without_an_answer_is_not_tried_twice(answer: str) -> None:
    client = in_room()
    client.connection_lost("cut", 50.0)
    client.connected(52.0)
    client.receive_text(WELCOME, 52.0)
    if answer == "silence":
        client.timer(52.0 + client.timeouts.resume_s)
    else:
        client.receive_text('{"type":"bye","bye":{"reason":"hello_timeout"}}', 54.0)
    assert client.drop_reason is not None
    client.connection_lost(client.drop_reason, 58.0)
    client.connected(59.0)
    client.receive_text(WELCOME, 59.0)
    assert client.hello_wanted


def test_a_resume_that_comes_too_late_is_not_tried() -> None:
    client = in_room()
    client.connection_lost("cut", 50.0)
    client.connected(51.0)
    client.connection_lost("cut again", 52.0)
    client.connected(50.0 + client.timeouts.resume_window_s)
    client.receive_text(WELCOME, 150.0)
    assert client.hello_wanted


def test_a_drop_while_joining_joins_after_the_resume() -> None:
    client = protocol()
    client.connected(0.0)
    client.receive_text(WELCOME, 0.0)
    client.permit_hello(0.0)
    client.receive_text(hello_reply("1"), 0.1)
    client.connection_lost("cut", 0.2)
    assert client.take_events() == []
    client.connected(0.3)
    client.receive_text(WELCOME, 0.3)
    client.receive_text(hello_reply(sent(client)[0]["id"]), 0.4)
    (join,) = sent(client)
    assert join["type"] == "room"
    client.receive_text(error("already_joined", join["id"]), 0.5)
    assert client.take_events() == [SessionStarted("session-1", False, "2.0.2", client.features)]


def test_a_bye_of_the_server_leads_to_a_reconnect() -> None:
    client = in_room()
    assert events_of(client, '{"type":"bye","bye":{"reason":"room_session_reconnected"}}') == []
    assert client.drop_reason == "the server said bye (room_session_reconnected)"
    assert events_of(client, {"type": "event", "event": {"target": "room", "type": "leave", "leave": ["x"]}}) == []


# What happens in the room.


def test_people_come_change_and_go() -> None:
    client = in_room()
    joined = {
        "type": "event",
        "event": {
            "target": "room",
            "type": "join",
            "join": [
                {"sessionid": "s-1", "userid": "user-1", "user": {"displayname": "N"}, "roomsessionid": "nc-1"},
                {"sessionid": "s-2", "userid": "", "federated": True, "roomsessionid": "nc-2"},
                {"sessionid": "s-3", "userid": "", "features": ["internal-incall", "start-dialout"]},
            ],
        },
    }
    assert events_of(client, joined) == [
        ParticipantsJoined(
            (
                Participant("s-1", "nc-1", "user-1"),
                Participant("s-2", "nc-2", federated=True),
                Participant("s-3", internal=True),
            )
        )
    ]
    updated = {
        "type": "event",
        "event": {
            "target": "participants",
            "type": "update",
            "update": {
                "roomid": ROOM,
                "changed": [{"inCall": 7, "sessionId": "s-1", "nextcloudSessionId": "nc-1", "lastPing": 1, "userId": "user-1"}],
                "users": [
                    {"inCall": 0, "sessionId": "s-1", "nextcloudSessionId": "nc-1", "lastPing": 1, "userId": "user-1"},
                    {"inCall": 3, "sessionId": "s-3", "lastPing": 1, "internal": True},
                    {"inCall": 9, "sessionId": "s-4", "lastPing": 1, "virtual": True},
                ],
            },
        },
    }
    assert events_of(client, updated) == [
        ParticipantsUpdated(
            (
                Participant("s-1", "nc-1", "user-1", InCall(7)),
                Participant("s-3", in_call=InCall(3), internal=True),
                Participant("s-4", in_call=InCall(9), virtual=True),
            )
        )
    ]
    left = {"type": "event", "event": {"target": "room", "type": "leave", "leave": ["s-1", "s-2"]}}
    assert events_of(client, left) == [ParticipantsLeft(("s-1", "s-2"))]


@pytest.mark.parametrize(("incall", "ends"), [("0", True), ("false", True), ("1", False), ("true", False), ('"x"', False)])
def test_only_an_end_for_all_ends_the_call(incall: str, ends: bool) -> None:
    update = f'{{"roomid":"{ROOM}","incall":{incall},"all":true}}'
    frame = f'{{"type":"event","event":{{"target":"participants","type":"update","update":{update}}}}}'
    assert events_of(in_room(), frame) == ([CallEndedForAll()] if ends else [])


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"room","room":{"roomid":""}}',
        f'{{"type":"event","event":{{"target":"roomlist","type":"disinvite","disinvite":{{"roomid":"{ROOM}","reason":"deleted"}}}}}}',
        '{"type":"event","event":{"target":"room","type":"delete"}}',
    ],
)
def test_removed_from_the_room(frame: str) -> None:
    client = in_room()
    assert events_of(client, frame) == [RemovedFromRoom()]
    assert not client.in_room
    assert not client.request_offer("speaker-1", "video")
    client.connection_lost("the server closed the websocket", 11.0)
    assert isinstance(client.failure, RoomRefused)


def test_sent_to_another_room_final_captions_can_still_be_said() -> None:
    client = in_room()
    switch = {"type": "event", "event": {"target": "room", "type": "switchto", "switchto": {"roomid": "breakout"}}}
    assert events_of(client, switch) == [RemovedFromRoom(switch_to="breakout")]
    assert client.send_caption(ONE, FINAL)


@pytest.mark.parametrize(
    "frame",
    [
        room_reply("", ROOM),
        '{"type":"event","event":{"target":"roomlist","type":"disinvite","disinvite":{"roomid":"another"}}}',
        '{"type":"event","event":{"target":"participants","type":"update","update":{"roomid":"another","incall":0,"all":true}}}',
        '{"type":"event","event":{"target":"participants","type":"flags","flags":{"roomid":"x","sessionid":"s","flags":1}}}',
        '{"type":"event","event":{"target":"room","type":"message","message":{"roomid":"x","data":{"type":"chat"}}}}',
        '{"type":"control","control":{"data":{}}}',
        '{"type":"transient","transient":{"type":"initial","data":{}}}',
        '{"type":"message","message":{"sender":{"sessionid":"s"},"data":{"type":"transcript","message":"words"}}}',
        '{"type":"error","error":{"code":"invalid_format","message":"m"}}',
        "not json",
    ],
)
def test_what_does_not_concern_us_changes_nothing(frame: str) -> None:
    client = in_room()
    assert events_of(client, frame) == []
    assert client.in_room
    assert client.failure is None
    assert client.drop_reason is None


# Subscribing.


def test_offer_answer_and_candidates() -> None:
    client = in_room()
    assert client.request_offer("pub-1", "video")
    (request,) = sent(client)
    assert request == {
        "id": request["id"],
        "type": "message",
        "message": {
            "recipient": {"type": "session", "sessionid": "pub-1"},
            "data": {"type": "requestoffer", "roomType": "video"},
        },
    }
    sender = {"type": "session", "sessionid": "pub-1", "userid": "user-1"}
    offer = {
        "type": "offer",
        "roomType": "video",
        "sid": "11",
        "from": "pub-1",
        "to": "session-1",
        "payload": {"type": "offer", "sdp": "v=0\r\n"},
    }
    assert events_of(client, {"type": "message", "message": {"sender": sender, "data": offer}}) == [
        OfferReceived("pub-1", "video", "11", "v=0\r\n")
    ]
    assert client.send_answer("pub-1", "video", "11", "v=0\r\nanswer")
    assert client.send_candidate("pub-1", "video", "11", "candidate:1 1 udp 1 192.0.2.1 9 typ host", "0", 0)
    assert client.send_candidate("pub-1", "video", "11", "", None, None)
    answer, candidate, end = sent(client)
    assert answer["message"] == {
        "recipient": {"type": "session", "sessionid": "pub-1"},
        "data": {
            "type": "answer",
            "roomType": "video",
            "sid": "11",
            "to": "pub-1",
            "payload": {"type": "answer", "sdp": "v=0\r\nanswer"},
        },
    }
    assert candidate["message"]["data"]["payload"] == {
        "candidate": {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
    }
    assert end["message"]["data"]["payload"]["candidate"]["candidate"] == ""
    body = {
        "type": "candidate",
        "roomType": "video",
        "sid": "11",
        "payload": {"candidate": {"candidate": "candidate:2", "sdpMid": "0", "sdpMLineIndex": 0}},
    }
    assert events_of(client, {"type": "message", "message": {"sender": sender, "data": body}}) == [
        CandidateReceived("pub-1", "video", "11", "candidate:2", "0", 0)
    ]


@pytest.mark.parametrize("code", ["client_not_found", "processing_failed", "not_allowed"])
def test_a_refused_subscription_concerns_one_publisher(code: str) -> None:
    client = in_room()
    client.request_offer("pub-1", "video")
    client.request_offer("pub-2", "screen")
    first, second = (frame["id"] for frame in sent(client))
    assert events_of(client, error(code, second)) == [SubscribeFailed("pub-2", code, "screen")]
    assert events_of(client, error(code, second)) == []
    assert events_of(client, error(code)) == []
    assert events_of(client, error(code, first)) == [SubscribeFailed("pub-1", code)]
    client.send_answer("pub-1", "video", "11", "v=0")
    (answer,) = sent(client)
    assert events_of(client, error("invalid_sdp", answer["id"])) == [SubscribeFailed("pub-1", "invalid_sdp")]
    assert client.in_room


def test_what_was_said_in_a_session_is_void_in_the_next_but_for_finals() -> None:
    client = in_room()
    client.request_offer("pub-1", "video")
    client.send_caption(ONE, PARTIAL)
    client.send_caption(ONE, FINAL)
    (old,) = [frame for frame in [client.next_frame()] if frame is not None]
    client.unsent(old)
    client.connection_lost("cut", 50.0)
    client.send_answer("pub-1", "video", "11", "v=0")
    client.connected(51.0)
    client.receive_text(WELCOME, 51.0)
    client.receive_text(error("no_such_session", sent(client)[0]["id"]), 51.0)
    client.permit_hello(51.0)
    client.receive_text(hello_reply(sent(client)[0]["id"], "session-2"), 51.0)
    client.receive_text(room_reply(sent(client)[0]["id"]), 51.0)
    assert [frame["message"]["data"]["message"] for frame in sent(client)] == ["Grüße"]


def test_what_was_said_while_the_websocket_was_broken_goes_out_after_the_resume_in_order() -> None:
    client = in_room()
    client.request_offer("pub-1", "video")
    unsent = client.next_frame()
    assert unsent is not None
    client.unsent(unsent)
    client.connection_lost("cut", 50.0)
    client.send_answer("pub-2", "video", "11", "v=0")
    client.connected(51.0)
    client.receive_text(WELCOME, 51.0)
    (resume,) = sent(client)
    client.receive_text(hello_reply(resume["id"]), 51.1)
    assert [frame["message"]["data"]["type"] for frame in sent(client)] == ["requestoffer", "answer"]


# Captions.


def test_a_caption_as_talk_and_every_server_version_want_it() -> None:
    client = in_room()
    assert client.send_caption(ONE, FINAL)
    assert client.send_caption(EVERYBODY, PARTIAL)
    one, everybody = sent(client)
    assert one == {
        "type": "message",
        "message": {
            "recipient": {"type": "session", "sessionid": "listener-1"},
            "data": {
                "type": "transcript",
                "roomType": "video",
                "message": "Grüße",
                "langId": "de",
                "speakerSessionId": "speaker-1",
                "final": True,
            },
        },
    }
    assert everybody["message"]["recipient"] == {"type": "call"}
    assert everybody["message"]["data"]["final"] is False


def test_captions_are_taken_only_in_the_room() -> None:
    client = protocol()
    assert not client.send_caption(ONE, FINAL)
    in_room(client)
    assert client.send_caption(ONE, FINAL)
    client.connection_lost("cut", 1.0)
    assert not client.send_caption(ONE, FINAL)


def test_a_server_without_recipient_call_takes_no_caption_for_the_call() -> None:
    client = protocol()
    client.connected(0.0)
    client.receive_text('{"type":"welcome","welcome":{"version":"1.2.4","features":["mcu"]}}', 0.0)
    client.permit_hello(0.0)
    client.receive_text(hello_reply("1", features='["mcu"]'), 0.0)
    client.receive_text(room_reply("2"), 0.0)
    assert not client.send_caption(EVERYBODY, FINAL)
    assert client.send_caption(ONE, FINAL)


def test_the_outbox_is_bounded_and_counted() -> None:
    client = in_room(protocol(outbox_limit=3))
    assert [client.send_caption(ONE, FINAL) for _ in range(5)] == [True, True, True, False, False]
    assert not client.request_offer("pub-1", "video")
    assert client.dropped_frames == 3
    assert len(sent(client)) == 3
    assert not client.send_answer("pub-1", "video", "11", "v" * 65_536)
    assert client.dropped_frames == 4


# The end.


def test_close_says_what_is_queued_and_then_bye() -> None:
    client = in_room()
    client.send_caption(ONE, FINAL)
    client.close()
    assert not client.send_caption(ONE, FINAL)
    assert not client.finished
    assert [frame["type"] for frame in sent(client)] == ["message", "bye"]
    assert client.finished
    client.connection_lost("closed", 2.0)
    client.connected(3.0)
    assert sent(client) == []
    assert client.take_events() == []


def test_close_before_hello_says_nothing() -> None:
    client = protocol()
    client.connected(0.0)
    client.close()
    assert client.finished
    client.receive_text(WELCOME, 0.1)
    assert sent(client) == []


frames = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([ROOM, "1", "2", "3", "offer"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "id", "room", "roomid", "event"]), inner, max_size=3)
    ),
    max_leaves=8,
)
kinds = st.sampled_from(["welcome", "hello", "error", "bye", "room", "event", "message", "control"])


@settings(deadline=None)
@given(st.lists(st.tuples(kinds, frames), max_size=12), st.integers(0, 3))
def test_no_sequence_of_frames_raises(sequence: list[tuple[str, Any]], stage: int) -> None:
    client = in_room() if stage == 3 else protocol()
    if stage < 3:
        client.connected(0.0)
    for step, (kind, body) in enumerate(sequence):
        client.receive_text(json.dumps({"type": kind, "id": "1", kind: body}), float(step))
        client.permit_hello(float(step))
        client.timer(float(step))
        sent(client)
    client.connection_lost("end", 100.0)
    client.take_events()

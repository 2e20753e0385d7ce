# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Frames in a room, written out as JSON, as in standalone-signaling-api-v1."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from live_transcription.errors import RoomRefused
from live_transcription.observability import metrics
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
    SubscribeFailed,
)
from tests.unit.signaling.golden import (
    CAPTION,
    EVERYBODY,
    ONE,
    ROOM,
    WELCOME,
    error,
    events_of,
    hello_reply,
    in_room,
    protocol,
    room_reply,
    sent,
)

# What happens in the room.


def test_participants_join_change_and_leave() -> None:
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
                Participant("s-1", "nc-1", "user-1", display_name="N"),
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
    assert not client.channel("speaker-1").request_offer()
    client.connection_lost("the server closed the websocket", 11.0)
    assert isinstance(client.failure, RoomRefused)


def test_captions_can_still_be_sent_when_the_app_is_sent_to_another_room() -> None:
    client = in_room()
    switch = {"type": "event", "event": {"target": "room", "type": "switchto", "switchto": {"roomid": "breakout"}}}
    assert events_of(client, switch) == [RemovedFromRoom(switch_to="breakout")]
    assert client.send_caption(ONE, CAPTION)


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
def test_frames_of_other_rooms_and_unknown_kinds_change_nothing(frame: str) -> None:
    client = in_room()
    assert events_of(client, frame) == []
    assert client.in_room
    assert client.failure is None
    assert client.drop_reason is None


# Subscribing.


def test_offer_answer_and_candidates() -> None:
    client = in_room()
    assert client.channel("pub-1").request_offer()
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
    assert client.channel("pub-1").send_answer("11", "v=0\r\nanswer")
    assert client.channel("pub-1").send_candidate("11", "candidate:1 1 udp 1 192.0.2.1 9 typ host", "0", 0)
    assert client.channel("pub-1").send_candidate("11", "", None, None)
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


def media_frame(publisher: str, kind: str, room_type: str = "video", *, sender_type: str = "session") -> dict[str, Any]:
    payload = {"type": "offer", "sdp": "v=0"} if kind == "offer" else {"candidate": {"candidate": "candidate:2"}}
    data = {"to": "session-1", "from": publisher, "type": kind, "roomType": room_type, "payload": payload, "sid": "11"}
    return {"type": "message", "message": {"sender": {"type": sender_type, "sessionid": publisher}, "data": data}}


@pytest.mark.parametrize("kind", ["offer", "candidate"])
def test_offers_and_candidates_are_accepted_only_from_publishers_that_were_asked(kind: str) -> None:
    client = in_room()
    client.channel("pub-1").request_offer()
    assert events_of(client, media_frame("pub-2", kind)) == [], "the HPB sends these if pub-2 says `sendoffer`"
    assert events_of(client, media_frame("pub-1", kind, "screen")) == []
    assert events_of(client, media_frame("pub-1", kind, sender_type="room")) == []
    assert len(events_of(client, media_frame("pub-1", kind))) == 1
    events_of(client, '{"type":"event","event":{"target":"room","type":"leave","leave":["pub-1"]}}')
    assert events_of(client, media_frame("pub-1", kind)) == []


def test_a_new_session_accepts_no_offer_of_the_old_one() -> None:
    client = in_room()
    client.channel("pub-1").request_offer()
    client.connection_lost("cut", 50.0)
    client.connected(51.0)
    client.receive_text(WELCOME, 51.0)
    client.receive_text(error("no_such_session"), 51.0)
    client.permit_hello(51.0)
    client.receive_text(hello_reply(sent(client)[-1]["id"], "session-2"), 51.0)
    client.receive_text(room_reply(sent(client)[-1]["id"]), 51.0)
    assert client.in_room
    client.take_events()
    assert events_of(client, media_frame("pub-1", "offer")) == []


def test_endless_offers_of_a_publisher_are_accepted_at_a_limited_rate() -> None:
    """A publisher can cause them with `sendoffer`. Each is a real offer of the SFU, and costs a new peer."""
    client = in_room()
    client.channel("pub-1").request_offer()
    offer = json.dumps(media_frame("pub-1", "offer"))
    taken = 0
    for tick in range(6_000):
        client.receive_text(offer, 100.0 + tick / 100)
        taken += len(client.take_events())
    assert 60 <= taken <= 70, "in 60 s"
    client.receive_text(offer, 160.0)
    client.take_events()
    assert client.channel("pub-1").request_offer()
    client.receive_text(offer, 160.0)
    assert len(client.take_events()) == 1, "a requested offer is always accepted"


def test_rejected_messages_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    client = in_room()

    def rejected() -> float:
        labels = {"kind": "offer", "reason": "forged"}
        return metrics.registry.get_sample_value("live_transcription_media_messages_rejected_total", labels) or 0.0

    before = rejected()
    for number in range(12_000):
        client.receive_text(json.dumps(media_frame("pub-1", "offer", sender_type="room")), 100.0 + number / 100)
    assert rejected() == before + 12_000
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert len(lines) == 2
    assert "6000" in lines[1]


@pytest.mark.parametrize("code", ["client_not_found", "processing_failed", "not_allowed"])
def test_a_refused_subscription_concerns_one_publisher(code: str) -> None:
    client = in_room()
    client.channel("pub-1").request_offer()
    client.channel("pub-2", "screen").request_offer()
    first, second = (frame["id"] for frame in sent(client))
    assert events_of(client, error(code, second)) == [SubscribeFailed("pub-2", code, "screen")]
    assert events_of(client, error(code, second)) == []
    assert events_of(client, error(code)) == []
    assert events_of(client, error(code, first)) == [SubscribeFailed("pub-1", code)]
    client.channel("pub-1").send_answer("11", "v=0")
    (answer,) = sent(client)
    assert events_of(client, error("invalid_sdp", answer["id"])) == [SubscribeFailed("pub-1", "invalid_sdp")]
    assert client.in_room


def test_only_captions_outlive_their_session() -> None:
    client = in_room()
    client.channel("pub-1").request_offer()
    client.send_caption(ONE, CAPTION)
    assert client.next_frame() is not None, "it is lost with the websocket"
    client.connection_lost("cut", 50.0)
    client.channel("pub-1").send_answer("11", "v=0")
    client.connected(51.0)
    client.receive_text(WELCOME, 51.0)
    client.receive_text(error("no_such_session", sent(client)[0]["id"]), 51.0)
    client.permit_hello(51.0)
    client.receive_text(hello_reply(sent(client)[0]["id"], "session-2"), 51.0)
    client.receive_text(room_reply(sent(client)[0]["id"]), 51.0)
    assert [frame["message"]["data"]["message"] for frame in sent(client)] == ["Grüße"]


def test_frames_that_waited_through_a_break_are_sent_in_order_after_the_resume() -> None:
    client = in_room()
    client.channel("pub-1").request_offer()
    assert client.next_frame() is not None, "it is lost with the websocket"
    client.connection_lost("cut", 50.0)
    client.channel("pub-2").send_answer("11", "v=0")
    client.connected(51.0)
    client.receive_text(WELCOME, 51.0)
    (resume,) = sent(client)
    client.receive_text(hello_reply(resume["id"]), 51.1)
    assert [frame["message"]["data"]["type"] for frame in sent(client)] == ["requestoffer", "answer"]


# Captions.


def test_a_caption_has_the_form_that_talk_and_every_version_of_the_hpb_accept() -> None:
    client = in_room()
    assert client.send_caption(ONE, CAPTION)
    assert client.send_caption(EVERYBODY, CAPTION)
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
    assert everybody["message"]["data"]["final"] is True


def test_captions_are_accepted_only_in_the_room() -> None:
    client = protocol()
    assert not client.send_caption(ONE, CAPTION)
    in_room(client)
    assert client.send_caption(ONE, CAPTION)
    client.connection_lost("cut", 1.0)
    assert not client.send_caption(ONE, CAPTION)


def test_without_recipient_call_no_caption_for_the_whole_call_is_accepted() -> None:
    client = protocol()
    client.connected(0.0)
    client.receive_text('{"type":"welcome","welcome":{"version":"1.2.4","features":["mcu"]}}', 0.0)
    client.permit_hello(0.0)
    client.receive_text(hello_reply("1", features='["mcu"]'), 0.0)
    client.receive_text(room_reply("2"), 0.0)
    assert not client.send_caption(EVERYBODY, CAPTION)
    assert client.send_caption(ONE, CAPTION)


def dropped() -> float:
    return metrics.registry.get_sample_value("live_transcription_signaling_frames_dropped_total") or 0.0


def test_the_outbox_is_bounded_and_refused_frames_are_counted() -> None:
    client, before = in_room(protocol(outbox_limit=3)), dropped()
    assert [client.send_caption(ONE, CAPTION) for _ in range(5)] == [True, True, True, False, False]
    assert not client.channel("pub-1").request_offer()
    assert dropped() == before + 3
    assert len(sent(client)) == 3
    assert not client.channel("pub-1").send_answer("11", "v" * 65_536)
    assert dropped() == before + 4

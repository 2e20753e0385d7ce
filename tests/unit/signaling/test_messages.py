# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Parsing returns a value for anything that a server sends, and nothing of it reaches the log."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.config import HpbConfig
from live_transcription.signaling import messages
from live_transcription.signaling.events import (
    CandidateReceived,
    InCall,
    OfferReceived,
    Participant,
    ParticipantsJoined,
    ParticipantsUpdated,
    RemovedFromRoom,
)
from live_transcription.signaling.frames import MAX_NAME_CHARS, ForgedFrame, Frame, IgnoredFrame, InvalidFrame
from live_transcription.signaling.protocol import SignalingProtocol
from live_transcription.types import Secret


def parse_frame(text: str) -> Frame:
    return messages.parse_frame(text, "room")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
#: Frames whose shape is right up to some depth, with anything at the leaves.
keys = st.sampled_from(
    [
        "type",
        "id",
        "welcome",
        "hello",
        "error",
        "bye",
        "room",
        "event",
        "message",
        "target",
        "join",
        "leave",
        "change",
        "switchto",
        "disinvite",
        "update",
        "users",
        "changed",
        "roomid",
        "sessionid",
        "sessionId",
        "nextcloudSessionId",
        "inCall",
        "incall",
        "all",
        "internal",
        "data",
        "sender",
        "payload",
        "sdp",
        "candidate",
        "sdpMid",
        "sdpMLineIndex",
        "roomType",
        "sid",
        "from",
        "features",
        "server",
        "version",
        "code",
        "reason",
        "resumeid",
    ]
)
words = st.sampled_from(
    [
        "welcome",
        "hello",
        "error",
        "bye",
        "room",
        "event",
        "message",
        "participants",
        "roomlist",
        "join",
        "leave",
        "change",
        "switchto",
        "disinvite",
        "update",
        "delete",
        "offer",
        "candidate",
        "endOfCandidates",
        "requestoffer",
        "video",
    ]
)
near_frames = st.recursive(
    words | json_values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6), max_leaves=20
)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_parsed(text: str) -> None:
    assert parse_frame(text) is not None


@settings(deadline=None)
@given(json_values)
def test_any_json_is_parsed(value: Any) -> None:
    assert parse_frame(json.dumps(value)) is not None


@settings(deadline=None)
@given(st.dictionaries(keys, near_frames, max_size=6), words)
def test_anything_that_looks_like_a_frame_is_parsed(frame: dict[str, Any], kind: str) -> None:
    assert parse_frame(json.dumps(frame | {"type": kind})) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nul",
        "[]",
        "7",
        '"' + "x" * 65_536 + '"',
        "[" * 65_536,
        '{"a":' * 10_000,
        '{"type":' + "9" * 5_000 + "}",
        '{"type":null}',
        '{"type":["hello"]}',
        '{"type":"hello"}',
        '{"type":"room","room":{}}',
        '{"type":"event","event":{"target":"room","type":"switchto"}}',
        '{"type":"message","message":[]}',
        '{"type":"message","message":{"sender":{"type":"session","sessionid":"s"},"data":{"type":"offer","payload":{"sdp":7}}}}',
        '{"type":"message","message":{"sender":{"type":"session","sessionid":"s"},"data":{"type":"candidate","payload":{"candidate":"x"}}}}',
    ],
)
def test_broken_frames_are_invalid(text: str) -> None:
    assert isinstance(parse_frame(text), InvalidFrame)


def test_entries_that_are_no_participants_are_skipped() -> None:
    users = [None, 7, {}, {"sessionId": ""}, {"sessionId": 7}, {"sessionId": "s-1"}, {"sessionid": "s-2", "inCall": "oops"}]
    update = {"type": "event", "event": {"target": "participants", "type": "update", "update": {"users": users}}}
    assert parse_frame(json.dumps(update)) == ParticipantsUpdated((Participant("s-1"), Participant("s-2")))
    join = {"type": "event", "event": {"target": "room", "type": "join", "join": [None, {"userid": "x"}, {"sessionid": "s-1"}]}}
    assert parse_frame(json.dumps(join)) == ParticipantsJoined((Participant("s-1"),))


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (7, InCall(7)),
        (0, InCall(0)),
        (3.0, InCall(3)),
        ("5", InCall(5)),
        (True, InCall(1)),
        (False, InCall(0)),
        (-1, None),
        (2**40, None),
        (float("inf"), None),
        (float("nan"), None),
        (1.5, None),
        ("x", None),
        ("9" * 5000, None),
        (None, None),
        ([], None),
    ],
)
def test_in_call_flags_of_every_json_type(value: Any, flags: InCall | None) -> None:
    users = [{"sessionId": "s-1", "inCall": value}]
    frame = {"type": "event", "event": {"target": "participants", "type": "update", "update": {"users": users}}}
    parsed = parse_frame(json.dumps(frame))
    assert isinstance(parsed, ParticipantsUpdated)
    assert parsed.participants[0].in_call == flags


def from_hpb(data: dict[str, Any] | str, **sender: str) -> str:
    """A frame with `message.data` as given, either a dict or JSON text."""
    origin = json.dumps({"type": "session", "sessionid": "s-1", **sender})
    text = data if isinstance(data, str) else json.dumps(data)
    return f'{{"type":"message","message":{{"sender":{origin},"data":{text}}}}}'


OFFER: dict[str, Any] = {
    "to": "we",
    "from": "s-1",
    "type": "offer",
    "roomType": "video",
    "payload": {"type": "offer", "sdp": "v=0"},
    "sid": "7",
}
CANDIDATE: dict[str, Any] = {
    **OFFER,
    "type": "candidate",
    "payload": {"candidate": {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}},
}
END: dict[str, Any] = {"type": "endOfCandidates", "roomType": "video", "sid": "7"}


@pytest.mark.parametrize("ice", [{"candidate": ""}, {"completed": True}, {"candidate": None}])
def test_the_end_of_candidates(ice: dict[str, Any]) -> None:
    frame = from_hpb({**CANDIDATE, "payload": {"candidate": ice}})
    assert parse_frame(frame) == CandidateReceived("s-1", "video", "7", None, None, None)


def test_an_offer_without_room_type_or_sid() -> None:
    frame = from_hpb({"type": "offer", "payload": {"type": "offer", "sdp": "v=0"}})
    assert parse_frame(frame) == OfferReceived("s-1", "video", "", "v=0")


def test_a_payload_may_hold_further_plain_values() -> None:
    payload = {"type": "offer", "sdp": "v=0", "e2ee": False, "update": None, "number": 1.5, "names": ["a", {"b": 2}]}
    assert parse_frame(from_hpb({**OFFER, "payload": payload})) == OfferReceived("s-1", "video", "7", "v=0")


@pytest.mark.parametrize("data", [OFFER, CANDIDATE, END])
@pytest.mark.parametrize("kind", ["room", "call", "user", "", "Session"])
def test_an_offer_that_was_sent_to_everybody_is_forged(data: dict[str, Any], kind: str) -> None:
    assert parse_frame(from_hpb(data, type=kind)) == ForgedFrame(data["type"])


@pytest.mark.parametrize(
    "sender",
    [None, 7, {}, {"sessionid": "s-1"}, {"type": "session"}, {"type": "session", "sessionid": ""}, {"type": ["session"]}],
)
def test_the_publisher_is_taken_from_the_hpbs_part_of_the_frame_only(sender: Any) -> None:
    frame = {"type": "message", "message": {"sender": sender, "data": OFFER}}
    assert parse_frame(json.dumps(frame)) == ForgedFrame("offer")
    assert parse_frame(json.dumps({"type": "message", "message": {"data": OFFER}})) == ForgedFrame("offer")
    assert parse_frame(from_hpb({**OFFER, "from": "somebody else"})) == ForgedFrame("offer")


#: Offers that the real HPB (1.2.4 and 2.0.2) relays to a session because it cannot parse them.
RELAYED = [
    {"bitrate": "x"},
    {"sid": 7},
    {"sid": None},
    {"roomType": ["video"]},
    {"audiocodec": 1},
    {"payload": [{"type": "offer", "sdp": "v=0"}]},
    {"payload": {"type": "offer", "sdp": "v=0", "x": float("inf")}},
    {"payload": {"type": "offer", "sdp": "v=0", "x": 10**400}},
    {"payload": {"type": "offer", "sdp": "v=0", "x": {"y": [float("nan")]}}},
    {"payload": {"type": "offer", "sdp": "v=0", "x": [[[[[[0]]]]]]}},
    {"Bitrate": "x"},
    {"\u017fid": 7},
    {"unknown": "key"},
]


@pytest.mark.parametrize("change", RELAYED, ids=str)
@pytest.mark.parametrize("data", [OFFER, CANDIDATE, END], ids=["offer", "candidate", "end"])
def test_a_message_that_the_hpb_cannot_parse_is_forged(data: dict[str, Any], change: dict[str, Any]) -> None:
    assert parse_frame(from_hpb({**data, **change})) == ForgedFrame(data["type"])


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(OFFER)[:-1] + ',"sid":"7"}',
        '{"sid":7,' + json.dumps(OFFER)[1:],
        '{"type":"chat",' + json.dumps(OFFER)[1:],
        json.dumps(OFFER).replace('"payload": {', '"payload": {"sdp":1e999,'),
        json.dumps(OFFER).replace('"sdp": "v=0"', '"sdp": "v=0","x":1e999'),
    ],
)
def test_a_message_with_a_repeated_key_is_forged(text: str) -> None:
    assert parse_frame(from_hpb(text)) == ForgedFrame("offer")


@pytest.mark.parametrize("depth", range(200, 1_100, 50))
def test_a_nested_frame_of_any_depth_is_parsed(depth: int) -> None:
    offer = from_hpb(OFFER)
    assert parse_frame(offer[:-1] + ',"x":' + '{"y":' * depth + "0" + "}" * depth + "}") is not None


def test_a_long_message_of_a_participant_is_not_parsed() -> None:
    """A message of 60 KB would block the event loop of all calls for 1.6 ms."""
    text = '{"type":"message","message":{"sender":{"type":"room","sessionid":"s-1"},"data":[' + "[]," * 20_000 + "[]]}}"
    assert parse_frame(text) == IgnoredFrame("long message")
    assert parse_frame(text[:-1]) == IgnoredFrame("long message"), "whether or not it is JSON"
    assert isinstance(
        parse_frame('{"type":"event",' + " " * 40_000 + '"event":{"target":"room","type":"delete"}}'), RemovedFromRoom
    )


@pytest.mark.parametrize("data", ["x", 7, None, [], {"type": 7}, {}])
def test_messages_between_participants_are_ignored(data: Any) -> None:
    assert parse_frame(from_hpb(json.dumps(data), type="room")) == IgnoredFrame("message unknown")


def test_unknown_types_are_ignored() -> None:
    assert parse_frame('{"type":"dialout","dialout":{}}') == IgnoredFrame("dialout")
    assert parse_frame('{"type":"what somebody said"}') == IgnoredFrame("unknown")


def test_nothing_that_was_received_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    private = "what somebody said"
    client = SignalingProtocol(HpbConfig("wss://h", Secret(private), "https://n"), "room")
    client.connected(0.0)
    with caplog.at_level(logging.DEBUG):
        for kind in ("welcome", "hello", "error", "bye", "room", "event", "message", private):
            bodies: list[Any] = [
                private,
                {"code": private, "reason": private, "roomid": private, "sessionid": private},
                {"target": private, "type": private, "data": {"type": private}},
            ]
            for body in bodies:
                client.receive_text(json.dumps({"type": kind, kind: body}), 0.1)
        client.receive_text(private, 0.1)
    assert caplog.records
    for record in caplog.records:
        assert private not in str(record.__dict__)


def test_display_names_are_kept_in_a_bounded_length_and_hidden() -> None:
    join = [
        {"sessionid": "s-1", "userid": "u", "user": {"displayname": "Ada"}},
        {"sessionid": "s-2", "user": {"displayname": "x" * 10_000}},
        {"sessionid": "s-3", "user": {"displayname": 7}},
        {"sessionid": "s-4", "user": "Ada"},
    ]
    joined = parse_frame(json.dumps({"type": "event", "event": {"target": "room", "type": "join", "join": join}}))
    assert isinstance(joined, ParticipantsJoined)
    assert [participant.display_name for participant in joined.participants] == ["Ada", "x" * MAX_NAME_CHARS, None, None]
    assert "Ada" not in repr(joined)
    users = [{"sessionId": "s-1", "inCall": 7, "displayName": "Ada Lovelace"}, {"sessionId": "s-2", "displayName": ""}]
    updated = parse_frame(
        json.dumps({"type": "event", "event": {"target": "participants", "type": "update", "update": {"users": users}}})
    )
    assert isinstance(updated, ParticipantsUpdated)
    assert [participant.display_name for participant in updated.participants] == ["Ada Lovelace", None]

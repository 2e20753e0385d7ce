# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The session as the HPB sees it, from hello to bye: frames written out as JSON, time passed in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.errors import RoomRefused, SignalingRefused
from live_transcription.signaling.events import (
    SessionInterrupted,
    SessionStarted,
)
from tests.unit.signaling.golden import (
    CAPTION,
    ONE,
    RANDOM,
    ROOM,
    TOKEN,
    WELCOME,
    error,
    events_of,
    hello_reply,
    in_room,
    protocol,
    room_reply,
    sent,
)

# Hello and room.


def test_hello_and_join() -> None:
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
def test_a_server_without_sfu_is_of_no_use_until_it_has_one(place: str) -> None:
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
    assert client.failure is None
    assert isinstance(client.refusal, SignalingRefused)
    assert client.refusal.reason == "no_sfu"
    assert "Janus" in client.refusal.fix
    assert client.drop_reason is not None
    client.connection_lost(client.drop_reason, 2.0)
    in_room(client, now=3.0)
    assert client.refusal is None


def test_a_server_that_waits_for_its_sfu_after_a_restart_is_tried_again() -> None:
    client = in_room()
    client.connection_lost("cut", 50.0)
    client.connected(51.0)
    client.receive_text('{"type":"welcome","welcome":{"version":"2.0.2","features":["recipient-call"]}}', 51.0)
    assert client.refusal is not None
    assert client.drop_reason is not None
    client.connection_lost(client.drop_reason, 51.1)
    client.connected(52.0)
    client.receive_text(WELCOME, 52.0)
    (resume,) = sent(client)
    client.receive_text(hello_reply(resume["id"]), 52.0)
    assert client.in_room


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("invalid_token", "LT_INTERNAL_SECRET"),
        ("invalid_backend", "server.conf"),
        ("invalid_client_type", "internalsecret"),
        ("too_many_requests", "30 minutes"),
        ("invalid_format", "1.2.4"),
        ("invalid_hello_version", "1.2.4"),
    ],
)
def test_refusals_whose_cause_only_an_administrator_can_change(code: str, fix: str) -> None:
    client = protocol()
    client.connected(0.0)
    client.receive_text(WELCOME, 0.0)
    client.permit_hello(0.0)
    client.receive_text(error(code, "1" if code != "invalid_format" else None), 0.1)
    assert client.failure is None
    assert isinstance(client.refusal, SignalingRefused)
    assert client.refusal.reason == code
    assert fix in client.refusal.fix
    assert not client.authenticated
    assert "MySecretValue" not in str(client.refusal)
    assert client.drop_reason is not None
    client.connection_lost(client.drop_reason, 0.2)
    in_room(client, now=400.0)
    assert client.refusal is None


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


@pytest.mark.parametrize("silence", ["hello", "hello that may be wrong", "room"])
def test_a_silent_server_loses_the_websocket(silence: str) -> None:
    client = protocol()
    client.connected(0.0)
    client.receive_text(WELCOME, 0.0)
    client.permit_hello(0.0, patient="wrong" in silence)
    sent(client)
    wait = client.timeouts.patient_hello_s if "wrong" in silence else client.timeouts.hello_s
    if silence == "room":
        client.receive_text(hello_reply("1"), 0.0)
        wait = client.timeouts.join_s
    assert client.deadline == wait
    client.timer(wait - 0.1)
    assert client.drop_reason is None
    client.timer(wait)
    assert client.drop_reason is not None


def test_another_answer_to_the_join_is_tried_again() -> None:
    client = protocol()
    client.connected(0.0)
    client.receive_text(WELCOME, 0.0)
    client.permit_hello(0.0)
    client.receive_text(hello_reply("1"), 0.0)
    sent(client)
    client.receive_text(error("internal_error", "2"), 0.1)
    assert client.failure is None
    assert client.drop_reason is not None
    client.connection_lost(client.drop_reason, 0.2)
    client.connected(1.0)
    client.receive_text(WELCOME, 1.0)
    client.receive_text(hello_reply(sent(client)[0]["id"]), 1.0)
    assert sent(client)[0]["type"] == "room"


@pytest.mark.parametrize("answer", [error("no_such_room", "2"), room_reply("", "")])
def test_a_refused_join_ends_the_call(answer: str) -> None:
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


def test_requests_for_offers_that_waited_through_an_outage_are_sent_once_for_each_publisher() -> None:
    client = in_room()
    client.channel("speaker-1").request_offer()
    (first,) = sent(client)
    assert first["message"]["data"]["type"] == "requestoffer"
    client.connection_lost("cut", 50.0)
    for _ in range(5):
        client.channel("speaker-1").request_offer()
        client.channel("speaker-2").request_offer()
    client.send_caption(ONE, CAPTION)
    client.connected(60.0)
    client.receive_text(WELCOME, 60.0)
    client.receive_text(hello_reply(sent(client)[0]["id"]), 60.1)
    asked = [frame["message"]["recipient"]["sessionid"] for frame in sent(client)]
    assert asked == ["speaker-1", "speaker-2"]


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


def test_a_lockout_of_resumes_does_not_concern_hellos() -> None:
    """After a restart with other keys the HPB cannot read old resume ids, and counts them as an attack."""
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


# The end.


def test_close_sends_what_is_queued_and_then_bye() -> None:
    client = in_room()
    client.send_caption(ONE, CAPTION)
    client.close()
    assert not client.send_caption(ONE, CAPTION)
    assert not client.finished
    assert [frame["type"] for frame in sent(client)] == ["message", "bye"]
    assert client.finished
    client.connection_lost("closed", 2.0)
    client.connected(3.0)
    assert sent(client) == []
    assert client.take_events() == []


def test_close_before_hello_sends_nothing() -> None:
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

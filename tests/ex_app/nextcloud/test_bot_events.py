# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The bodies of Talk's bot: what they mean, and that nothing but a command is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ex_app.nextcloud.bot_events import MalformedEvent, read_event
from live_transcription.transcripts.consent import BotDisabled, BotEnabled, CallEnded, CallStarted, Command, Person


def create(text: str = "!transcript here", **changes: Any) -> dict[str, Any]:
    """A chat message as AppAPI sends it."""
    content = json.dumps({"message": text, "parameters": []}, separators=(",", ":"))
    body = {
        "type": "Create",
        "actor": {"type": "Person", "id": "users/ada", "name": "Ada", "talkParticipantType": "1"},
        "object": {"type": "Note", "id": "7", "name": "message", "content": content, "mediaType": "text/markdown"},
        "target": {"type": "Collection", "id": "room1", "name": "Team"},
        "appId": "live_transcription",
        "route": "talk_bot",
    }
    return body | changes


def activity(name: str) -> dict[str, Any]:
    note = {"type": "Note", "id": "7", "name": name, "content": '{"message":"x","parameters":[]}', "mediaType": "text/markdown"}
    return create(type="Activity", actor={"type": "Person", "id": "guests/abc", "name": ""}, object=note)


def read(body: Any) -> Any:
    return read_event(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("!transcript here", "here"),
        ("  !TRANSCRIPT   Stop ", "stop"),
        ("!transcript", ""),
        ("!transcript\nhere now", "here now"),
    ],
)
def test_commands(text: str, word: str) -> None:
    assert read(create(text)) == Command("room1", 7, word, Person("users", "ada", "Ada", 1), "Team")


@pytest.mark.parametrize(
    "text", ["", "hello", "please say !transcript here", "!transcripts here", "!transcript-x", "!transcript " + "x" * 300, "\\"]
)
def test_everything_else_is_ignored(text: str) -> None:
    assert read(create(text)) is None


def test_calls_and_memberships() -> None:
    assert read(activity("call_started")) == CallStarted("room1", 7)
    assert read(activity("call_joined")) == CallStarted("room1", 7, joined=True)
    assert read(activity("call_ended")) == read(activity("call_ended_everyone")) == CallEnded("room1", 7)
    assert read(activity("file_shared")) is None
    assert read(activity("")) is None
    actor = {"type": "Application", "id": "bots/bot-1", "name": "Bot"}
    room = {"type": "Collection", "id": "room1", "name": "Team"}
    assert read({"type": "Join", "actor": actor, "object": room}) == BotEnabled("room1")
    assert read({"type": "Leave", "actor": actor, "object": room}) == BotDisabled("room1")
    assert read({"type": "Like"}) is None
    assert read({"type": "Undo", "object": {"type": "Like"}}) is None


def test_nobody_can_write_a_system_message() -> None:
    assert read(create("call_started")) is None
    assert read(create(object={"id": "7", "name": "call_started", "content": '{"message":"!transcript here"}'})) is None


@pytest.mark.parametrize(("role", "found"), [("2", 2), ("6", 6), ("", 0), ("9", 0), ("٢", 0), ("02", 0)])
def test_roles(role: str, found: int) -> None:
    event = read(create(actor={"id": "users/a/b", "name": "A", "talkParticipantType": role}))
    assert (event.author.role, event.author.id) == (found, "a/b")


def test_no_role_before_talk_21() -> None:
    assert read(create(actor={"id": "users/ada", "name": "Ada"})).author.role == 0


@pytest.mark.parametrize(
    "body",
    [
        [], None, 1, {}, {"type": 1}, {"type": ""}, {"type": "x" * 100}, {"type": "Create"}, {"type": "Join", "object": []},
        create(actor={"id": 1}), create(actor={"id": "", "name": ""}), create(actor={"id": "users/" + "a" * 600}),
        create(actor={"id": "users/ada", "name": "n" * 2000}), create(actor={"id": "users/ada", "talkParticipantType": 1}),
        create(target={"id": "../x"}), create(target={"id": "r" * 65}), create(target=None), create(object=[]),
        create(object={"id": 7, "name": "message"}), create(object={"id": "0", "name": "message"}),
        create(object={"id": "-1", "name": "message"}), create(object={"id": "9" * 20, "name": "message"}),
        create(object={"id": "7", "name": "message", "content": {}}), create(object={"id": "\u0667", "name": "message"}),
    ],
)  # fmt: skip
def test_malformed_events(body: Any) -> None:
    with pytest.raises(MalformedEvent) as failure:
        read(body)
    assert str(failure.value) == "The body is not an event of a bot."
    assert failure.value.__context__ is None or failure.value.__suppress_context__


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"type":"Create"' + b"[" * 50_000, b"[" * 60_000, b'{"type":NaN}'])
def test_no_json(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        read_event(body)


@pytest.mark.parametrize(
    "content",
    ['{"message":"!transcript here"', '{"message":"!transcript here","message":1}', '{"message":"!transcript"}' + "[" * 99],
)
def test_a_command_whose_content_is_broken(content: str) -> None:
    assert read(create(object={"id": "7", "name": "message", "content": content})) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(
    st.sampled_from(["Create", "Activity", "Join", "Leave", "Like"]),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("actor", "object", "target", "appId"), json_values)),
)
def test_any_json_is_an_event_or_malformed(kind: str, rest: dict[str, Any]) -> None:
    try:
        event = read(create() | rest | {"type": kind})
    except MalformedEvent:
        return
    assert event is None or event.room == "room1" or kind in ("Join", "Leave")

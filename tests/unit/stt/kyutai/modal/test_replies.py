# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.stt.kyutai.modal.replies import (
    BATCH_LIMIT,
    TEXT_LIMIT,
    ErrorReply,
    Ignored,
    PauseReply,
    PingReply,
    Reply,
    TokenReply,
    parse_message,
)


@pytest.mark.parametrize(
    ("message", "replies"),
    [
        # The specified dialect.
        ('{"text": " hello", "final": false, "vad_end": false}', [TokenReply(" hello", final=False)]),
        ('{"text": "hello", "final": true, "vad_end": true}', [TokenReply("hello", final=True), PauseReply()]),
        ('{"text": "", "final": false, "vad_end": true}', [PauseReply()]),
        ('{"text": "", "final": true, "vad_end": false}', [PauseReply()]),
        ('{"vad_end": true}', [PauseReply()]),
        ('{"text": "", "final": false, "vad_end": false}', [Ignored("empty")]),
        ('{"text": "hello", "final": "yes", "vad_end": 1}', [TokenReply("hello")]),
        # The deployed one.
        ('{"type": "token", "text": "Hello,"}', [TokenReply("Hello,")]),
        ('{"type": "vad_end"}', [PauseReply()]),
        ('{"type": "ping"}', [PingReply()]),
        ('{"type": "ping", "text": "not said"}', [PingReply()]),
        ('{"type": "error", "message": "no free channels"}', [ErrorReply("capacity", "no free channels")]),
        (
            '{"type": "error", "code": "session_expired", "message": "time limit"}',
            [ErrorReply("expired", "session_expired: time limit")],
        ),
        ('{"type": "error"}', [ErrorReply("other", "")]),
        ('{"error": "model server down"}', [ErrorReply("other", "model server down")]),
        # With more in it than either dialect says.
        ('{"type": "token", "text": "Hi", "start_s": 1.5, "end_s": 2}', [TokenReply("Hi", 1.5, 2.0)]),
        ('{"type": "token", "text": "Hi", "start_time": 1.5, "stop_time": 2}', [TokenReply("Hi", 1.5, 2.0)]),
        ('{"type": "token", "text": "Hi", "vad_end": true}', [TokenReply("Hi"), PauseReply()]),
        ('[{"type": "token", "text": "a"}, {"type": "vad_end"}]', [TokenReply("a"), PauseReply()]),
        # Nonsense.
        ('{"type": "token", "text": "Hi", "start_s": NaN}', [TokenReply("Hi")]),
        ('{"type": "token", "text": "Hi", "start_s": -1}', [TokenReply("Hi")]),
        ('{"type": "token", "text": "Hi", "start_s": 3, "end_s": 1}', [TokenReply("Hi")]),
        ('{"type": "token", "text": "Hi", "start_s": true}', [TokenReply("Hi")]),
        ('{"type": "token", "text": "a\\u0000\\ud800b"}', [TokenReply("a?b")]),
        ('{"type": "token", "text": 7}', [Ignored("garbage")]),
        ('{"type": "token"}', [Ignored("garbage")]),
        ('{"type": "Marker", "id": 3}', [Ignored("unknown")]),
        ('{"type": 5, "text": "x"}', [Ignored("unknown")]),
        ('{"hello": 1}', [Ignored("unknown")]),
        ('{"type": "token", "te', [Ignored("garbage")]),
        ("", [Ignored("garbage")]),
        ("[]", [Ignored("garbage")]),
        ("[1, null]", [Ignored("garbage"), Ignored("garbage")]),
        ("null", [Ignored("garbage")]),
        ("[" * 50_000, [Ignored("garbage")]),
        ("x" * 70_000, [Ignored("huge")]),
    ],
)
def test_both_dialects_and_nonsense(message: str, replies: list[Reply]) -> None:
    assert parse_message(message) == replies
    assert parse_message(message.encode("utf-8", "surrogatepass")) == replies


def test_a_huge_number_and_broken_utf8_are_garbage() -> None:
    assert parse_message('{"type": "token", "text": "a", "start_s": 1' + "0" * 400 + "}") == [TokenReply("a")]
    assert parse_message('{"start_s": ' + "1" * 5000 + "}") == [Ignored("garbage")]
    assert parse_message(b"\xff\xfe\xfa") == [Ignored("garbage")]


def test_sizes_are_bounded() -> None:
    (token,) = parse_message(json.dumps({"type": "token", "text": "x" * 5000}))
    assert isinstance(token, TokenReply)
    assert len(token.text) == TEXT_LIMIT
    assert len(parse_message(json.dumps([{"type": "ping"}] * 3000))) == BATCH_LIMIT
    (error,) = parse_message(json.dumps({"type": "error", "message": "<b>\n" + "y" * 5000}))
    assert isinstance(error, ErrorReply)
    assert len(error.message) <= 100
    assert "<" not in error.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
replies = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["token", "vad_end", "ping", "error", "word"]) | json_values,
        "text": json_values,
        "final": json_values,
        "vad_end": json_values,
        "message": json_values,
        "code": json_values,
        "start_s": json_values,
        "end_s": json_values,
    },
)


@given(
    st.one_of(st.text(), st.binary(), json_values.map(json.dumps), replies.map(json.dumps), st.lists(replies).map(json.dumps))
)
def test_never_raises_and_never_hands_on_what_cannot_be_shown(message: str | bytes) -> None:
    parsed = parse_message(message)
    assert parsed
    for reply in parsed:
        if isinstance(reply, TokenReply):
            assert reply.text
            reply.text.encode("utf-8")
            assert "\x00" not in reply.text
            assert all(time is None or time >= 0 for time in (reply.start_s, reply.end_s))


@given(st.text(min_size=1, max_size=50), st.integers(0, 60))
def test_half_a_frame_is_no_token(text: str, cut: int) -> None:
    message = json.dumps({"type": "token", "text": text})
    assert parse_message(message[: min(cut, len(message) - 1)]) == [Ignored("garbage")]

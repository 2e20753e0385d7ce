# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.stt.kyutai.modal.replies import (
    BATCH_LIMIT,
    ErrorReply,
    PauseReply,
    PingReply,
    Reply,
    TokenReply,
    parse_message,
)
from live_transcription.stt.kyutai.parsing import TEXT_LIMIT, IgnoredReply


@pytest.mark.parametrize(
    ("message", "replies"),
    [
        # The specified format.
        ('{"text": " hello", "final": false, "vad_end": false}', [TokenReply(" hello", final=False)]),
        ('{"text": "hello", "final": true, "vad_end": true}', [TokenReply("hello", final=True), PauseReply()]),
        ('{"text": "", "final": false, "vad_end": true}', [PauseReply()]),
        ('{"text": "", "final": true, "vad_end": false}', [PauseReply()]),
        ('{"vad_end": true}', [PauseReply()]),
        ('{"text": "", "final": false, "vad_end": false}', [IgnoredReply("empty")]),
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
        # With keys of neither format.
        ('{"type": "token", "text": "Hi", "start_s": 1.5, "end_s": 2}', [TokenReply("Hi", 1.5, 2.0)]),
        ('{"type": "token", "text": "Hi", "start_time": 1.5, "stop_time": 2}', [TokenReply("Hi", 1.5, 2.0)]),
        ('{"type": "token", "text": "Hi", "vad_end": true}', [TokenReply("Hi"), PauseReply()]),
        ('[{"type": "token", "text": "a"}, {"type": "vad_end"}]', [TokenReply("a"), PauseReply()]),
        # Nonsense.
        ('{"type": "token", "text": "Hi", "start_s": NaN}', [TokenReply("Hi")]),
        ('{"type": "token", "text": "Hi", "start_s": -1}', [TokenReply("Hi")]),
        ('{"type": "token", "text": "Hi", "start_s": 3, "end_s": 1}', [TokenReply("Hi")]),
        ('{"type": "token", "text": "Hi", "start_s": true}', [TokenReply("Hi")]),
        ('{"type": "token", "text": "a\\u202eb\\u2066c\\u200fd"}', [TokenReply("abcd")]),
        ('{"type": "token", "text": "a\\u0000\\ud800b"}', [TokenReply("a?b")]),
        ('{"type": "token", "text": 7}', [IgnoredReply("garbage")]),
        ('{"type": "token"}', [IgnoredReply("garbage")]),
        ('{"type": "Marker", "id": 3}', [IgnoredReply("unknown")]),
        ('{"type": 5, "text": "x"}', [IgnoredReply("unknown")]),
        ('{"hello": 1}', [IgnoredReply("unknown")]),
        ('{"type": "token", "te', [IgnoredReply("garbage")]),
        ("", [IgnoredReply("garbage")]),
        ("[]", [IgnoredReply("garbage")]),
        ("[1, null]", [IgnoredReply("garbage"), IgnoredReply("garbage")]),
        ("null", [IgnoredReply("garbage")]),
        ("[" * 50_000, [IgnoredReply("garbage")]),
        ("x" * 70_000, [IgnoredReply("huge")]),
    ],
)
def test_both_formats_and_nonsense_are_parsed(message: str, replies: list[Reply]) -> None:
    assert parse_message(message) == replies
    assert parse_message(message.encode("utf-8", "surrogatepass")) == replies


def test_a_huge_number_and_broken_utf8_are_garbage() -> None:
    assert parse_message('{"type": "token", "text": "a", "start_s": 1' + "0" * 400 + "}") == [TokenReply("a")]
    assert parse_message('{"start_s": ' + "1" * 5000 + "}") == [IgnoredReply("garbage")]
    assert parse_message(b"\xff\xfe\xfa") == [IgnoredReply("garbage")]


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
def test_parsing_never_raises_and_returns_only_text_that_can_be_shown(message: str | bytes) -> None:
    parsed = parse_message(message)
    assert parsed
    for reply in parsed:
        if isinstance(reply, TokenReply):
            assert reply.text
            reply.text.encode("utf-8")
            assert "\x00" not in reply.text
            assert all(time is None or time >= 0 for time in (reply.start_s, reply.end_s))


@given(st.text(min_size=1, max_size=50), st.integers(0, 60))
def test_half_a_message_is_no_token(text: str, cut: int) -> None:
    message = json.dumps({"type": "token", "text": text})
    assert parse_message(message[: min(cut, len(message) - 1)]) == [IgnoredReply("garbage")]

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.stt.kyutai.moshi.replies import (
    Error,
    Marker,
    Ready,
    Reply,
    Step,
    Word,
    audio_message,
    parse_message,
)
from live_transcription.stt.kyutai.parsing import IgnoredReply


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        ({"type": "Ready"}, Ready()),
        ({"type": "Word", "text": "Hello,", "start_time": 1.28}, Word("Hello,", 1.28)),
        ({"type": "Word", "text": "Hello,"}, Word("Hello,", None)),
        ({"type": "Word", "text": "Hello,", "start_time": float("nan")}, Word("Hello,", None)),
        ({"type": "EndWord", "stop_time": 2}, None),
        ({"type": "Step", "step_idx": 9, "prs": [0.1, 0.2, 0.7, 0.9], "buffered_pcm": 0}, Step(0.7)),
        ({"type": "Step", "step_idx": 9, "prs": []}, Step(0.0)),
        ({"type": "Step", "prs": [0, 0, float("inf")]}, Step(0.0)),
        ({"type": "Step"}, Step(0.0)),
        ({"type": "Marker", "id": 4}, Marker(4)),
        ({"type": "Error", "message": "no free channels"}, Error("no free channels")),
        ({"type": "Error"}, Error("")),
        ({"type": "Word", "text": 5}, IgnoredReply("garbage")),
        ({"type": "Marker", "id": "x"}, IgnoredReply("garbage")),
        ({"type": "Surprise"}, IgnoredReply("unknown")),
        ({"no": "type"}, IgnoredReply("garbage")),
        ({"type": 3}, IgnoredReply("garbage")),
        ([1, 2], IgnoredReply("garbage")),
    ],
)
def test_messages_are_parsed(message: object, reply: Reply) -> None:
    assert parse_message(msgpack.packb(message)) == reply


def test_truncated_messages_text_frames_and_huge_messages_are_ignored() -> None:
    whole = msgpack.packb({"type": "Word", "text": "Hello", "start_time": 1.0})
    for cut in range(len(whole)):
        assert parse_message(whole[:cut]) == IgnoredReply("garbage")
    assert parse_message('{"type": "Ready"}') == IgnoredReply("garbage")
    assert parse_message(b"\x00" * 100_000) == IgnoredReply("huge")
    assert parse_message(b"\x91" * 60_000) == IgnoredReply("garbage")


@given(st.binary())
def test_parsing_never_raises(message: bytes) -> None:
    parse_message(message)


def test_samples_are_encoded_as_32_bit_floats() -> None:
    chunk = np.linspace(-1, 1, 1920, dtype=np.float32)
    message = {"type": "Audio", "pcm": chunk.tolist()}
    assert audio_message(chunk) == msgpack.packb(message, use_single_float=True)


def test_marks_that_change_the_direction_of_text_are_removed() -> None:
    text = "a\u202eb\u202cc\u2066d\u2069e\u200ef\u200fg\u200ch"
    reply = parse_message(msgpack.packb({"type": "Word", "text": text, "start_time": 1.0}))
    assert reply == Word("abcdefg\u200ch", 1.0)

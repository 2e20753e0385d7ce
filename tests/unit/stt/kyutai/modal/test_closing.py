# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import json

import numpy as np
import pytest

from live_transcription.errors import SttAtCapacity, SttError, SttExpired, SttUnavailable
from live_transcription.stt.kyutai.modal.protocol import ModalSession

STEP = np.zeros(1920, np.float32)
IDLE, CAPACITY = (SttExpired, "idle"), (SttAtCapacity, "full")
EXPIRED, BROKEN = (SttExpired, "age limit"), (SttUnavailable, "broke")


def session(
    code: int | None = 1000, *, age: float = 60, first: float | None = 50, last: float | None = 0.1, tokens: int = 20
) -> SttError:
    """The error for a session that was closed at the age of `age` seconds.

    The first and the last audio were sent `first` and `last` seconds before that; `tokens` words came in between.
    """
    history = ModalSession(0.0)
    if first is not None:
        history.send(STEP, age - first)
    for number in range(tokens):
        history.receive(json.dumps({"type": "token", "text": f"w{number}"}), age - first if first is not None else 0.0)
    if last is not None:
        history.send(STEP, age - last)
    return history.closed(code, age)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        # No audio for 25 s or more: the proxy's limit is 30 s.
        (session(last=25), IDLE),
        (session(last=30.2, age=1799, first=1790), IDLE),
        (session(age=30, first=None, last=None, tokens=0), IDLE),
        (session(last=24.9), BROKEN),
        # The model server is full: closed right after the first audio, without text.
        (session(age=1.2, first=0.2, tokens=0), CAPACITY),
        (session(age=120, first=2.9, tokens=0), CAPACITY),
        (session(age=4, first=3.0, tokens=0), BROKEN),
        (session(age=4, first=1.0, tokens=1), BROKEN),
        (session(1013, age=100, tokens=9), CAPACITY),
        # The model server is down: closed at once, before any audio.
        (session(age=0.05, first=None, last=None, tokens=0), BROKEN),
        # The function's timeout.
        (session(age=29 * 60, first=1700), EXPIRED),
        (session(None, age=30 * 60, first=1700), EXPIRED),
        (session(age=28.9 * 60, first=1700), BROKEN),
        # A message of the wrong length, a text frame, a crash.
        (session(), BROKEN),
        (session(None), BROKEN),
        (session(1011, age=1, first=0.5, tokens=0), BROKEN),
        (session(1006, age=1, first=0.5, tokens=0), BROKEN),
        (session(1009), BROKEN),
    ],
)
def test_the_history_of_a_session_explains_its_close(error: SttError, expected: tuple[type[SttError], str]) -> None:
    assert type(error) is expected[0]
    assert expected[1] in error.message
    assert error.retryable

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import pytest

from live_transcription.errors import SttAtCapacity, SttError, SttExpired, SttUnavailable
from live_transcription.stt.kyutai.modal.close_reason import ClosedSession, CloseReason, close_error, close_reason

DONE, IDLE, CAPACITY, EXPIRED, RECONNECT = CloseReason


def session(
    code: int | None = 1000,
    *,
    ours: bool = False,
    age: float = 60,
    first: float | None = 50,
    last: float | None = 0.1,
    tokens: int = 20,
) -> ClosedSession:
    return ClosedSession(code, ours, age, first, last, tokens)


@pytest.mark.parametrize(
    ("closed", "expected"),
    [
        # We closed.
        (session(ours=True), DONE),
        (session(ours=True, age=1800, first=0.1, last=28, tokens=0), DONE),
        # Nothing sent for 25 s and more: the proxy drops at 30.
        (session(last=25), IDLE),
        (session(last=30.2, age=1799, first=1790), IDLE),
        (session(age=30, first=None, last=None, tokens=0), IDLE),
        (session(last=24.9), RECONNECT),
        # The model server is full: right after the first audio, no text.
        (session(age=1.2, first=0.2, tokens=0), CAPACITY),
        (session(age=120, first=2.9, tokens=0), CAPACITY),
        (session(age=4, first=3.0, tokens=0), RECONNECT),
        (session(age=4, first=1.0, tokens=1), RECONNECT),
        (session(1013, age=100, tokens=9), CAPACITY),
        # The model server is down: at once, before any audio.
        (session(age=0.05, first=None, last=None, tokens=0), RECONNECT),
        # The function's timeout.
        (session(age=29 * 60, first=1700), EXPIRED),
        (session(None, age=30 * 60, first=1700), EXPIRED),
        (session(age=28.9 * 60, first=1700), RECONNECT),
        # A bad length, a text frame, a crash.
        (session(), RECONNECT),
        (session(None), RECONNECT),
        (session(1011, age=1, first=0.5, tokens=0), RECONNECT),
        (session(1006, age=1, first=0.5, tokens=0), RECONNECT),
        (session(1009), RECONNECT),
    ],
)
def test_a_close_is_told_by_what_came_before_it(closed: ClosedSession, expected: CloseReason) -> None:
    assert close_reason(closed) is expected


@pytest.mark.parametrize(
    ("reason", "error"),
    [(IDLE, SttExpired), (CAPACITY, SttAtCapacity), (EXPIRED, SttExpired), (RECONNECT, SttUnavailable), (DONE, SttUnavailable)],
)
def test_every_close_may_be_followed_by_another_session(reason: CloseReason, error: type[SttError]) -> None:
    assert type(close_error(reason)) is error
    assert close_error(reason).retryable

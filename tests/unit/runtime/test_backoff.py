# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Delays between attempts, and before a failed task starts again."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.runtime.backoff import Backoff, Restarts


def test_ceilings_double_up_to_the_cap() -> None:
    backoff = Backoff(lambda: 0.999999)
    assert [round(backoff.next_delay(), 3) for _ in range(9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_reset_starts_over() -> None:
    backoff = Backoff(lambda: 0.5)
    for _ in range(20):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() == 0.25


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=2000))
def test_the_first_retry_is_within_half_a_second_and_none_beyond_the_cap(draws: list[float]) -> None:
    rolls = itertools.cycle(draws)
    backoff = Backoff(lambda: next(rolls), cap_s=7.0)
    delays = [backoff.next_delay() for _ in draws]
    assert 0 <= delays[0] < 0.5
    assert all(0 <= delay < 7.0 for delay in delays)


def test_delays_grow_up_to_two_minutes() -> None:
    restarts = Restarts(lambda: 0.999999)
    assert [round(restarts.failed("a", 1.0)) for _ in range(7)] == [5, 10, 20, 40, 80, 120, 120]
    assert round(restarts.failed("b", 1.0)) == 5, "each for itself"


def test_a_minute_without_failure_or_a_clean_end_resets_the_delay() -> None:
    restarts = Restarts(lambda: 0.0)
    assert [restarts.failed("a", 0.0) for _ in range(4)] == [2.5, 5.0, 10.0, 20.0], "never at once"
    assert restarts.failed("a", 59.0) == 40.0
    assert restarts.failed("a", 60.0) == 2.5
    assert restarts.failed("a", 1.0) == 5.0
    restarts.forget("a")
    restarts.forget("unknown")
    assert restarts.failed("a", 0.0) == 2.5

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When there is no room for another speaker, and when there is again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from live_transcription.admission import SETTLE_S, SPEAKER_BYTES, Admission
from live_transcription.observability.memory import MemoryBound, MemoryReading, MemorySource

GB = 1 << 30


def at(share: float, *, source: MemorySource = MemorySource.CONTAINER) -> MemoryReading:
    return MemoryReading(int(share * GB), (MemoryBound(source, int(share * GB), GB),))


def full(admission: Admission, now: float) -> bool:
    return not admission.admit(0, now) or bool(admission.shortages(0))


def test_above_eighty_percent_nobody_new_and_below_seventy_five_again() -> None:
    admission = Admission(500)
    for now, (share, refused) in enumerate(
        [(0.1, False), (0.79, False), (0.81, True), (0.76, True), (0.74, False), (0.79, False)]
    ):
        admission.observe(at(share), now * 100.0)
        assert full(admission, now * 100.0) is refused, share
    admission.observe(at(0.9), 1000.0)
    (shortage,) = admission.shortages(3)
    assert shortage.code == "memory"
    assert "922 of 1024 MB" in shortage.message
    assert "3 of those who speak are not heard" in shortage.message
    assert "container" in shortage.fix


def test_no_known_limit_limits_nothing() -> None:
    admission = Admission(500)
    assert admission.admit(0, 0.0)
    admission.observe(MemoryReading(50 * GB), 0.0)
    assert admission.tightest is None
    assert admission.admit(0, 0.0)
    assert admission.shortages(0) == ()


def test_the_limit_that_is_reached_first_counts() -> None:
    admission = Admission(500, GB // 2)
    admission.observe(MemoryReading(GB // 4, (MemoryBound(MemorySource.CONTAINER, GB // 3, GB),)), 0.0)
    assert admission.tightest is not None
    assert admission.tightest.source is MemorySource.SETTING
    assert admission.admit(0, 0.0)
    admission.limit(500, GB // 4)
    admission.observe(MemoryReading(GB // 4, (MemoryBound(MemorySource.CONTAINER, GB // 3, GB),)), 1.0)
    assert not admission.admit(0, 1.0)
    assert "settings" in admission.shortages(0)[0].fix


def test_who_was_heard_a_moment_ago_keeps_the_place_but_not_beyond_the_number() -> None:
    admission = Admission(2)
    admission.observe(at(0.95), 0.0)
    assert not admission.admit(1, 0.0)
    assert admission.admit(1, 0.0, returning=True)
    assert not admission.admit(2, 0.0, returning=True)


def test_a_storm_of_joins_does_not_run_past_the_limit_on_one_reading() -> None:
    admission = Admission(10_000)
    used = int(0.7 * GB)
    admission.observe(at(0.7), 0.0)
    admitted = 0
    while admission.admit(admitted, 0.5):
        admitted += 1
    assert used + admitted * SPEAKER_BYTES <= 0.81 * GB
    assert admitted > 50
    admission.observe(at(0.71), 0.5 + SETTLE_S)
    assert admission.admit(admitted, 0.5 + SETTLE_S), "they took less than was expected of them"


def test_the_number_of_speakers_is_told_only_while_somebody_waits() -> None:
    admission = Admission(10)
    assert not admission.admit(10, 0.0)
    assert admission.shortages(0) == ()
    (shortage,) = admission.shortages(4)
    assert shortage.code == "speakers"
    assert "10 speakers" in shortage.message


@given(st.lists(st.floats(0.0, 1.5), max_size=50))
def test_between_the_two_marks_nothing_changes(shares: list[float]) -> None:
    admission = Admission(500)
    before = False
    for number, share in enumerate(shares):
        now = number * 100.0
        admission.observe(at(share), now)
        after = bool(admission.shortages(0))
        if 0.7500001 < share < 0.7999999:
            assert after is before
        before = after

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When memory allows another stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from live_transcription.capacity.admission import SETTLE_S, SLOT_BYTES, MemoryAdmission
from live_transcription.capacity.memory import MemoryBound, MemoryReading, MemorySource

GB = 1 << 30


def at(share: float, *, source: MemorySource = MemorySource.CONTAINER) -> MemoryReading:
    return MemoryReading(int(share * GB), (MemoryBound(source, int(share * GB), GB),))


def full(admission: MemoryAdmission, now: float) -> bool:
    room, shortages = admission.room(SLOT_BYTES, now), admission.shortages()
    assert (room == 0) is bool(shortages)
    return room == 0


def test_nothing_is_added_above_80_percent_until_usage_drops_below_75() -> None:
    admission = MemoryAdmission()
    for now, (share, refused) in enumerate(
        [(0.1, False), (0.79, False), (0.81, True), (0.76, True), (0.74, False), (0.79, False)]
    ):
        admission.observe(at(share), now * 100.0)
        assert full(admission, now * 100.0) is refused, share
    admission.observe(at(0.9), 1000.0)
    (shortage,) = admission.shortages("3 speakers are not being transcribed.")
    assert shortage.code == "memory"
    assert "922 of 1024 MB" in shortage.message
    assert shortage.message.endswith("3 speakers are not being transcribed.")
    assert "container" in shortage.fix


def test_without_a_known_limit_there_is_always_room_for_streams() -> None:
    admission = MemoryAdmission()
    assert admission.room(SLOT_BYTES, 0.0) == float("inf")
    admission.observe(MemoryReading(50 * GB), 0.0)
    assert admission.tightest is None
    assert admission.room(SLOT_BYTES, 0.0) == float("inf")
    assert admission.shortages() == ()


def test_the_limit_that_is_reached_first_counts() -> None:
    admission = MemoryAdmission(GB // 2)
    admission.observe(MemoryReading(GB // 4, (MemoryBound(MemorySource.CONTAINER, GB // 3, GB),)), 0.0)
    assert admission.tightest is not None
    assert admission.tightest.source is MemorySource.SETTING
    assert not full(admission, 0.0)
    admission.max_memory = GB // 4
    admission.observe(MemoryReading(GB // 4, (MemoryBound(MemorySource.CONTAINER, GB // 3, GB),)), 1.0)
    assert full(admission, 1.0)
    assert "settings" in admission.shortages()[0].fix


def test_many_speakers_cannot_share_one_reading() -> None:
    admission = MemoryAdmission()
    used = int(0.7 * GB)
    admission.observe(at(0.7), 0.0)
    room = admission.room(SLOT_BYTES, 0.5)
    assert 50 < room < float("inf")
    assert used + room * SLOT_BYTES <= 0.81 * GB
    admission.promise(int(room) * SLOT_BYTES, 0.5)
    assert full(admission, 0.6)
    admission.observe(at(0.71), 0.5 + SETTLE_S)
    assert not full(admission, 0.5 + SETTLE_S), "they took less than was expected of them"


@given(st.lists(st.floats(0.0, 1.5), max_size=50))
def test_between_the_two_thresholds_nothing_changes(shares: list[float]) -> None:
    admission = MemoryAdmission()
    before = False
    for number, share in enumerate(shares):
        now = number * 100.0
        admission.observe(at(share), now)
        after = bool(admission.shortages())
        if 0.7500001 < share < 0.7999999:
            assert after is before
        before = after

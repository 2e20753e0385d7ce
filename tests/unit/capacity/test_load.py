# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The interval between captions while the event loop lags."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from live_transcription.capacity.load import MAX_STRETCH, CaptionInterval


def test_a_single_hiccup_changes_nothing() -> None:
    control = CaptionInterval()
    for lag_s in [0.0, 0.002, 0.01, 0.15, 0.005, 0.03]:
        assert control.observe(lag_s) == 1.0
    assert control.shortages() == ()


def test_the_interval_grows_while_the_loop_lags_and_shrinks_afterwards() -> None:
    control = CaptionInterval()
    stretches = [control.observe(0.3) for _ in range(40)]
    assert stretches == sorted(stretches)
    assert stretches[8] > 2.0, "within about two seconds"
    assert stretches[-1] == MAX_STRETCH
    (shortage,) = control.shortages()
    assert shortage.code == "load"
    assert "300 ms" in shortage.message
    steady = [control.observe(0.06) for _ in range(100)][-1]
    assert steady == MAX_STRETCH, "neither calm nor busy: as it is"
    back = [control.observe(0.0) for _ in range(100)]
    assert back == sorted(back, reverse=True)
    assert back[-1] == 1.0
    assert control.shortages() == ()


@given(st.lists(st.floats(-1.0, 100.0), max_size=200))
def test_the_stretch_stays_within_its_bounds(lags: list[float]) -> None:
    control = CaptionInterval()
    assert all(1.0 <= control.observe(lag_s) <= MAX_STRETCH for lag_s in lags)

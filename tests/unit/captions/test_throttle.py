# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One speaker's cadence."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.captions import CaptionThrottle, UtteranceText
from live_transcription.captions.pace import Pace


def partial(text: str) -> UtteranceText:
    return UtteranceText(text, final=False)


def final(text: str) -> UtteranceText:
    return UtteranceText(text, final=True)


RETRACTED = final("")


def test_first_partial_passes_at_once_then_the_latest_wins() -> None:
    throttle = CaptionThrottle(0.3)
    assert throttle.offer(partial("a"), 10.0) == [partial("a")]
    assert throttle.next_deadline() is None
    assert throttle.offer(partial("a b"), 10.1) == []
    assert throttle.offer(partial("a b c"), 10.2) == []
    assert throttle.next_deadline() == pytest.approx(10.3)
    assert throttle.tick(10.25) == []
    assert throttle.tick(10.31) == [partial("a b c")]
    assert throttle.superseded == 1
    assert throttle.tick(20.0) == []
    assert throttle.offer(partial("a b c d"), 20.0) == [partial("a b c d")]


def test_unchanged_text_is_skipped_and_a_text_that_changes_back_needs_nothing() -> None:
    throttle = CaptionThrottle(0.3)
    throttle.offer(partial("a"), 0.0)
    assert throttle.offer(partial("a"), 5.0) == []
    throttle.offer(partial("a b"), 5.0)
    throttle.offer(partial("a c"), 5.1)
    assert throttle.offer(partial("a b"), 5.2) == []
    assert throttle.next_deadline() is None


def test_a_final_passes_at_once_and_cancels_the_waiting_partial() -> None:
    throttle = CaptionThrottle(0.3)
    throttle.offer(partial("a"), 0.0)
    throttle.offer(partial("a b"), 0.1)
    assert throttle.offer(final("a b c"), 0.1) == [final("a b c")]
    assert throttle.tick(9.0) == []
    assert throttle.offer(final("a b c"), 9.0) == [final("a b c")], "people do say the same thing twice"


def test_an_utterance_taken_back_is_heard_of_only_where_it_was_shown() -> None:
    throttle = CaptionThrottle(0.3)
    throttle.offer(partial("a"), 0.0)
    assert throttle.offer(RETRACTED, 0.1) == [RETRACTED]
    throttle.offer(partial("b"), 0.15)
    assert throttle.offer(RETRACTED, 0.2) == []
    assert throttle.tick(1.0) == []


def test_finals_only() -> None:
    throttle = CaptionThrottle(partials=False)
    assert throttle.offer(partial("a"), 0.0) == []
    assert throttle.offer(RETRACTED, 0.1) == []
    assert throttle.next_deadline() is None
    assert throttle.offer(final("a b"), 0.2) == [final("a b")]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.05, 0.2, 0.4]), st.sampled_from("abc"), st.booleans()), max_size=60))
def test_no_final_is_lost_and_partials_keep_their_distance(steps: list[tuple[float, str, bool]]) -> None:
    throttle = CaptionThrottle(0.3)
    now = 0.0
    passed: list[tuple[float, UtteranceText]] = []
    for gap, text, is_final in steps:
        until = now + gap
        while (deadline := throttle.next_deadline()) is not None and deadline <= until:
            passed += [(deadline, result) for result in throttle.tick(deadline)]
        now = until
        passed += [(now, result) for result in throttle.offer(UtteranceText(text, is_final), now)]
    finals = [text for _, text, is_final in steps if is_final]
    assert [result.text for _, result in passed if result.final] == finals
    at = [time for time, result in passed if not result.final]
    assert all(later - earlier >= 0.299 for earlier, later in pairwise(at))


def test_under_load_partials_come_further_apart_and_finals_at_once() -> None:
    pace = Pace()
    throttle = CaptionThrottle(0.3, pace=pace)
    pace.stretch = 4.0
    assert throttle.offer(partial("a"), 0.0) == [partial("a")]
    assert throttle.offer(partial("a b"), 0.5) == []
    assert throttle.next_deadline() == pytest.approx(1.2)
    assert throttle.tick(1.2) == [partial("a b")]
    assert throttle.offer(final("a b c"), 1.3) == [final("a b c")]
    pace.stretch = 1.0
    throttle.offer(partial("d"), 10.0)
    assert throttle.offer(partial("d e"), 10.31) == [partial("d e")]

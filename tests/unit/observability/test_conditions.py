# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When a problem becomes a condition, and when the condition ends."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from live_transcription.errors import NoMediaPath, SignalingRefused, SignalingUnreachable
from live_transcription.observability.conditions import RULES, Conditions, hpb_condition, media_condition, turn_condition
from live_transcription.status import Condition

UNREACHABLE = Condition("hpb-unreachable", "No answer.", "Start it.")
NO_PATH = Condition("media-path", "No path.", "Let UDP through.")
MEMORY = Condition("memory", "Short.", "More.")


def codes(conditions: Conditions) -> list[str]:
    return [condition.code for condition in conditions.current()]


def test_a_condition_begins_and_ends_once_for_any_number_of_reports() -> None:
    conditions = Conditions()
    for now in range(5):
        conditions.report(UNREACHABLE, float(now))
        assert conditions.changes(float(now)) == ()
        assert codes(conditions) == [], "a resume or a quick restart is no outage"
    conditions.report(UNREACHABLE, 5.0)
    (begun,) = conditions.changes(5.0)
    assert (begun.condition, begun.lasted_s) == (UNREACHABLE, None)
    for now in range(6, 40):
        conditions.report(Condition("hpb-unreachable", "Another reason.", ""), float(now), source="")
        assert conditions.changes(float(now)) == ()
    assert conditions.current()[0].message == "Another reason."
    conditions.clear("hpb-unreachable")
    (ended,) = conditions.changes(40.0)
    assert ended.lasted_s == 35.0
    assert codes(conditions) == []
    assert conditions.changes(41.0) == ()


def test_a_short_problem_is_never_reported() -> None:
    conditions = Conditions()
    for start in (0.0, 10.0, 20.0):
        conditions.report(UNREACHABLE, start)
        assert conditions.changes(start + 4.9) == ()
        conditions.clear("hpb-unreachable")
        assert conditions.changes(start + 5.1) == ()


def test_several_lost_paths_count_at_once_and_a_single_one_after_5_seconds() -> None:
    conditions = Conditions()
    conditions.observe("media-path", {"a": NO_PATH, "b": NO_PATH}, 0.0)
    assert conditions.changes(1.0) == ()
    conditions.observe("media-path", {"a": NO_PATH, "b": NO_PATH, "c": NO_PATH}, 2.0)
    assert len(conditions.changes(2.0)) == 1
    conditions.observe("media-path", {"c": NO_PATH}, 3.0)
    assert codes(conditions) == ["media-path"], "it continues for the last one"
    conditions.observe("media-path", {}, 4.0)
    assert len(conditions.changes(4.0)) == 1
    for now in range(10, 30):  # one after another, each of them for a moment
        conditions.observe("media-path", {now // 4: NO_PATH}, float(now))
        assert conditions.changes(float(now)) == ()


def test_conditions_are_shown_in_the_order_of_their_codes() -> None:
    conditions = Conditions()
    conditions.report(Condition("made-up", "Odd.", ""), 0.0)
    for code in reversed(RULES):
        conditions.report(Condition(code, "Something.", ""), 0.0)
    conditions.changes(100.0)
    assert codes(conditions) == [*RULES, "made-up"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(1, 4)), max_size=60))
def test_beginnings_and_ends_take_turns(steps: list[tuple[bool, int, int]]) -> None:
    conditions, now, told = Conditions(), 0.0, []
    for trouble, source, seconds in steps:
        now += seconds
        if trouble:
            conditions.report(NO_PATH, now, source)
        else:
            conditions.clear("media-path", source)
        told += [change.lasted_s is None for change in conditions.changes(now)]
        assert bool(conditions.current()) == (bool(told) and told[-1])
    assert all(first != second for first, second in pairwise(told))
    assert not told or told[0]


def test_texts_state_the_effect_the_cause_and_the_fix() -> None:
    refused = hpb_condition(SignalingRefused("It refused the secret.", fix="Set it."), 0)
    assert (refused.code, refused.fix) == ("hpb-refused", "Set it.")
    assert refused.message == "Calls get no captions. It refused the secret."
    unreachable = hpb_condition(SignalingUnreachable("No answer."), 1)
    assert (unreachable.code, unreachable.message) == ("hpb-unreachable", "1 call gets no captions. No answer.")
    assert hpb_condition(SignalingUnreachable("No answer."), 2).message.startswith("2 calls get no captions.")
    failure = NoMediaPath("No path.", fix="Let UDP through.")
    assert media_condition(1, failure).message.startswith("1 speaker is not being transcribed")
    assert media_condition(2, failure).message.startswith("2 speakers are not being transcribed")
    assert "turn.example.com:3478 (401)" in turn_condition({"turn.example.com:3478": 401}).message

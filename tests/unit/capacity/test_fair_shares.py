# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which claims get a unit, and which lose theirs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from live_transcription.capacity.fair_shares import Claim, FairShares, ShareRules
from tests.unit.call.test_cost import instructions

RULES = ShareRules(idle_s=10.0, min_hold_s=5.0, rotate_s=30.0)


def shares(limit: int) -> FairShares:
    return FairShares(limit, RULES)


def wanting(of: FairShares, group: str, count: int, now: float, *, room: float = float("inf")) -> list[Claim]:
    claims = [Claim(group) for _ in range(count)]
    for claim in claims:
        of.want(claim, now)
        of.decide(now, room)
    return claims


def held(claims: list[Claim]) -> int:
    return sum(claim.held for claim in claims)


def test_a_decision_examines_the_holders_once_for_any_number_of_waiting_groups() -> None:
    def cost(groups: int) -> int:
        fair = shares(1000)
        for number in range(1000 + groups):
            fair.want(Claim(f"call-{number % groups}"), 0.0)
        while fair.decide(0.0):
            pass
        assert fair.waiting == groups
        return instructions(lambda: fair.decide(1.0))

    assert cost(40) <= 3 * cost(2)


def test_an_idle_holder_yields_after_ten_seconds() -> None:
    fair = shares(1)
    (first,) = wanting(fair, "a", 1, 0.0)
    fair.pause(first, 1.0)
    (second,) = wanting(fair, "a", 1, 10.9)
    assert (first.held, second.held, fair.waiting) == (True, False, 1)
    assert fair.decide(11.0) == [first, second]
    assert (first.held, second.held, fair.waiting) == (False, True, 0)


def test_a_holder_whose_audio_does_not_arrive_yields_at_once() -> None:
    fair = shares(1)
    (first,) = wanting(fair, "a", 1, 0.0)
    fair.forsake(first)
    (second,) = wanting(fair, "b", 1, 0.1)
    assert second.held


def test_a_unit_stays_with_an_idle_holder_while_nobody_needs_it() -> None:
    fair = shares(1)
    (first,) = wanting(fair, "a", 1, 0.0)
    fair.pause(first, 1.0)
    assert fair.decide(1000.0) == []
    assert first.held


def test_the_first_speaker_of_another_call_is_served_at_once() -> None:
    fair = shares(20)
    many = wanting(fair, "a", 500, 0.0)
    assert held(many) == 20
    (one,) = wanting(fair, "b", 1, 0.1)
    assert one.held
    assert held(many) == 19
    assert fair.held == 20


def test_shares_become_max_min_fair_and_then_stay() -> None:
    fair = shares(12)
    claims = {group: wanting(fair, group, count, 0.0) for group, count in (("a", 50), ("b", 50), ("c", 2))}
    moves = 0
    for second in range(1, 29):
        moves += len(fair.decide(float(second)))
    assert [held(claims[group]) for group in "abc"] == [5, 5, 2]
    quiet = [len(fair.decide(20.0 + tenth / 10)) for tenth in range(90)]
    assert sum(quiet) == 0, "no unit goes back and forth"


def test_an_idle_holder_goes_first_in_the_largest_call() -> None:
    fair = shares(3)
    claims = wanting(fair, "a", 3, 0.0)
    fair.pause(claims[1], 1.0)
    (other,) = wanting(fair, "b", 1, 2.0)
    assert other.held
    assert [claim.held for claim in claims] == [True, False, True]


def test_speakers_of_one_call_take_turns() -> None:
    fair = shares(2)
    claims = wanting(fair, "a", 5, 0.0)
    served: set[Claim] = {claim for claim in claims if claim.held}
    assert served == set(claims[:2]), "first come, first served"
    for second in range(200):
        assert held(claims) == 2
        served |= {claim for claim in fair.decide(float(second)) if claim.held}
    assert served == set(claims)


def test_more_calls_than_units_take_turns() -> None:
    fair = shares(1)
    claims = [wanting(fair, group, 1, 0.0)[0] for group in "abc"]
    turns = [claim for second in range(120) for claim in fair.decide(float(second)) if claim.held]
    assert set(turns) == set(claims)
    assert len(turns) == 3, "each at least for half a minute"


def test_a_claim_keeps_its_place_through_a_short_pause() -> None:
    fair = shares(1)
    wanting(fair, "a", 1, 0.0)
    (first,) = wanting(fair, "a", 1, 1.0)
    (second,) = wanting(fair, "a", 1, 2.0)
    fair.pause(first, 20.0)
    fair.want(first, 25.0)
    fair.decide(33.0)
    assert first.held
    assert not second.held


def test_without_room_units_move_but_none_is_added() -> None:
    fair = shares(10)
    (first,) = wanting(fair, "a", 1, 0.0)
    (second,) = wanting(fair, "b", 1, 1.0, room=0)
    assert not second.held
    fair.pause(first, 2.0)
    fair.decide(12.0, 0)
    assert second.held
    assert fair.held == 1


def test_a_call_that_rejoins_keeps_its_units_for_30_seconds() -> None:
    fair = shares(2)
    (old,) = wanting(fair, "a", 1, 0.0)
    wanting(fair, "b", 1, 0.0)
    fair.keep_all("a", 100.0)
    fair.drop(old)
    (stranger,) = wanting(fair, "b", 1, 105.0)
    assert not stranger.held, "they have had no time to come back"
    back, newcomer = wanting(fair, "a", 2, 106.0, room=0)
    assert (back.held, newcomer.held) == (True, False)
    assert fair.held == 2


def test_a_reservation_expires() -> None:
    fair = shares(1)
    wanting(fair, "a", 1, 0.0)
    fair.keep_all("a", 100.0)
    assert (fair.held, fair.in_use) == (1, 0)
    (stranger,) = wanting(fair, "b", 1, 111.0)
    assert stranger.held, "somebody speaks who needs it"
    fair.keep_all("b", 200.0)
    fair.decide(231.0)
    assert fair.held == 0


def test_units_move_no_faster_than_the_rules_allow() -> None:
    fair = FairShares(50, ShareRules(idle_s=10.0, min_hold_s=5.0, rotate_s=30.0, move_every_s=0.25))
    silent = wanting(fair, "a", 50, 0.0)
    for claim in silent:
        fair.pause(claim, 0.0)
    waiting = wanting(fair, "a", 50, 20.0)
    assert held(waiting) == 1
    for tenth in range(1, 20):
        fair.decide(20.0 + tenth / 10)
    assert held(waiting) == 7
    assert held(wanting(fair, "b", 1, 21.95)) == 1, "a call that has none need not wait"


@given(st.integers(1, 12), st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_max_min_fairness(limit: int, speakers: list[int]) -> None:
    """No call could get one more without another that has no more than it giving one."""
    fair = shares(limit)
    claims = {str(number): wanting(fair, str(number), count, 0.0) for number, count in enumerate(speakers)}
    for second in range(6, 29):
        fair.decide(float(second))
    counts = {group: held(members) for group, members in claims.items()}
    assert sum(counts.values()) == min(limit, sum(speakers))
    for group, members in claims.items():
        if counts[group] < len(members):
            assert max(counts.values()) <= counts[group] + 1


class AnyOrder(RuleBasedStateMachine):
    """Whatever publishers do, in whatever order, at whatever time."""

    LIMIT = 3

    def __init__(self) -> None:
        super().__init__()
        self.now = 1.0
        self.fair = FairShares(self.LIMIT, RULES)
        self.claims: list[Claim] = []
        self.dropped: set[Claim] = set()

    @rule(group=st.sampled_from("abc"))
    def speak(self, group: str) -> None:
        claim = Claim(group)
        self.claims.append(claim)
        self.fair.want(claim, self.now)
        self.decide()

    @rule(number=st.integers(0, 50), what=st.sampled_from(["want", "pause", "forsake", "drop"]))
    def do(self, number: int, what: str) -> None:
        if not self.claims:
            return
        claim = self.claims[number % len(self.claims)]
        match what:
            case "want":
                self.fair.want(claim, self.now)
            case "pause":
                self.fair.pause(claim, self.now)
            case "forsake":
                self.fair.forsake(claim)
            case "drop":
                self.fair.drop(claim)
                self.claims.remove(claim)
        self.decide()

    @rule(group=st.sampled_from("abc"))
    def join_anew(self, group: str) -> None:
        self.fair.keep_all(group, self.now)
        for claim in [claim for claim in self.claims if claim.group == group]:
            self.fair.drop(claim)
            self.claims.remove(claim)
        self.decide()

    @rule(seconds=st.floats(0.1, 40.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.decide()

    def decide(self) -> None:
        self.fair.decide(self.now)

    @invariant()
    def never_more_than_the_limit(self) -> None:
        assert self.fair.held <= self.LIMIT
        assert sum(claim.held for claim in self.claims) == self.fair.in_use

    @invariant()
    def nobody_waits_beside_a_free_or_idle_unit(self) -> None:
        if self.fair.waiting:
            assert self.fair.held == self.LIMIT
            idle = [claim for claim in self.claims if claim.held and not claim.active]
            assert not [claim for claim in idle if self.now - claim.idle_since >= RULES.idle_s]

    @invariant()
    def a_group_without_units_waits_for_no_group_with_two(self) -> None:
        for claim in self.claims:
            if claim.active and not claim.held and self.fair.held_by(claim.group) == 0:
                assert all(self.fair.held_by(group) <= 1 for group in "abc")

    @invariant()
    def who_is_active_holds_or_waits(self) -> None:
        assert sum(claim.active and not claim.held for claim in self.claims) == self.fair.waiting


TestAnyOrder = AnyOrder.TestCase

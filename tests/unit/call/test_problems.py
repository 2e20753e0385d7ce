# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What calls and tests show about the HPB, the media path and TURN."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from live_transcription.call.problems import Problems
from live_transcription.errors import NoMediaPath, RoomRefused, SignalingError, SignalingRefused, SignalingUnreachable
from live_transcription.observability.health import HPB, MEDIA, TURN, Outcomes
from live_transcription.status import Condition
from live_transcription.types import TurnAnswer

NEVER = float("-inf")
GONE = SignalingUnreachable("Nothing listens.", fix="Start it.")
REFUSED = SignalingRefused("It refused the secret.", fix="Set it.", reason="invalid_token")
NO_PATH = NoMediaPath("No path.", fix="Open UDP.")


@dataclass(eq=False)
class OneCall:
    """What `Problems` asks of a call."""

    in_room_since: float | None = None
    last_error: SignalingError | None = None
    failures: Mapping[str, NoMediaPath] = field(default_factory=dict)
    answers: Mapping[str, TurnAnswer] = field(default_factory=dict)
    has_media_path: bool = False
    encrypted_count: int = 0

    @property
    def joined(self) -> asyncio.Event:
        joined = asyncio.Event()
        if self.in_room_since is not None:
            joined.set()
        return joined

    def path_failures(self) -> Mapping[str, NoMediaPath]:
        return self.failures

    def turn_answers(self) -> Mapping[str, TurnAnswer]:
        return self.answers


class World:
    """`Problems` with a clock that runs by whole seconds; the clock of the wall is 1,000 s ahead."""

    def __init__(self) -> None:
        self.outcomes = Outcomes()
        self.problems = Problems(self.outcomes)
        self.now = 0.0
        self.accepted_at = NEVER

    def watch(self, seconds: int, *calls: OneCall) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self.problems.observe(calls, (), None, self.now, accepted_at=self.accepted_at, at=self.now + 1000)  # type: ignore[arg-type]

    def state(self, name: str) -> str:
        return self.outcomes.of(name).state


def test_a_call_in_its_room_shows_that_the_backend_works() -> None:
    world = World()
    world.watch(10)
    assert world.state(HPB) == "unknown"
    world.watch(1, OneCall(in_room_since=10.5))
    assert (world.state(HPB), world.outcomes.of(HPB).at) == ("ok", 1011.0)
    world.watch(5, OneCall(in_room_since=10.5))
    assert world.outcomes.of(HPB).at == 1016.0
    world.watch(100)
    assert (world.state(HPB), world.outcomes.of(HPB).at) == ("ok", 1016.0), "the last outcome, and when it was"


def test_an_outage_lasts_until_a_session_begins_or_resumes() -> None:
    world = World()
    world.watch(1, OneCall(in_room_since=0.5))
    world.watch(4, OneCall(last_error=GONE))
    assert world.state(HPB) == "ok", "a resume takes a moment"
    world.watch(10, OneCall(last_error=GONE))
    assert (world.state(HPB), world.outcomes.of(HPB).code) == ("failed", "signaling_unreachable")
    world.watch(3600)
    assert world.state(HPB) == "failed", "nothing has shown that it is over"
    world.watch(2, OneCall(in_room_since=world.now + 0.5))
    assert world.state(HPB) == "ok"


def test_a_room_that_refuses_the_app_is_no_outage() -> None:
    world = World()
    world.watch(1, OneCall(in_room_since=0.5))
    world.watch(2, OneCall(last_error=RoomRefused("There is no such room.")))
    world.watch(60)
    assert world.state(HPB) == "ok"
    assert world.problems.current() == ()


def test_a_refused_test_counts_until_a_hello_is_accepted() -> None:
    world = World()
    call = OneCall(in_room_since=0.5)
    world.watch(5, call)
    world.problems.hpb_failed(REFUSED, world.now, world.now)
    world.watch(60, call)
    assert world.state(HPB) == "failed", "a session that exists says nothing about the secret"
    world.watch(60, OneCall(in_room_since=world.now))
    assert world.state(HPB) == "failed", "nor does one that is resumed"
    world.accepted_at = world.now + 0.5
    world.watch(1, call)
    assert world.state(HPB) == "ok"


def test_an_outage_ends_as_well_if_the_last_call_without_a_session_gives_up() -> None:
    world = World()
    back, late = OneCall(last_error=GONE), OneCall(last_error=GONE)
    world.watch(10, back, late)
    back.last_error, back.in_room_since = None, world.now
    world.watch(10, back, late)
    assert world.state(HPB) == "failed", "one call has no session yet"
    world.watch(1, back)
    assert world.state(HPB) == "ok", "the call that is left is in its room"
    world.problems.hpb_failed(GONE, world.now, world.now)
    world.watch(10, back)
    assert world.state(HPB) == "failed", "a later test counts"


def test_other_settings_of_the_backend_make_its_outcomes_unknown() -> None:
    world = World()
    world.accepted_at = 0.5
    world.watch(5, OneCall(in_room_since=0.5, has_media_path=True))
    assert (world.state(HPB), world.state(MEDIA)) == ("ok", "ok")
    world.problems.forget_hpb(world.now)
    world.watch(5)
    assert (world.state(HPB), world.state(MEDIA)) == ("unknown", "unknown"), "an earlier hello does not count"
    world.problems.hpb_succeeded(world.now)
    assert world.state(HPB) == "ok"


def test_the_media_path_fails_for_all_for_some_or_for_nobody() -> None:
    world = World()
    world.watch(2, OneCall(in_room_since=0.5))
    assert world.state(MEDIA) == "unknown"
    lost = OneCall(in_room_since=0.5, failures={"one": NO_PATH})
    world.watch(10, lost)
    assert (world.state(MEDIA), world.outcomes.of(MEDIA).code) == ("failed", "no_media_path")
    assert world.outcomes.of(MEDIA).fix == "Open UDP."
    world.watch(600)
    assert world.state(MEDIA) == "failed", "the call has ended, but its last outcome is known"
    lost.has_media_path = True
    world.watch(10, lost)
    assert world.state(MEDIA) == "warning"
    lost.failures = {}
    world.watch(1, lost)
    assert world.state(MEDIA) == "ok"


def test_the_last_answer_of_turn_or_the_last_test_of_it_counts() -> None:
    world = World()
    refused = OneCall(answers={"turn.example.com": TurnAnswer(401, 0.5)})
    world.watch(1, refused)
    assert (world.state(TURN), world.outcomes.of(TURN).code) == ("warning", "turn-refused")
    world.watch(5)
    assert world.state(TURN) == "warning"
    world.problems.turn_tested(None, world.now, world.now)
    world.watch(1, refused)
    assert world.state(TURN) == "ok", "the refusal is older than the test"
    world.problems.turn_tested(Condition("ice-servers", "It does not answer.", "Check it."), world.now, world.now)
    assert world.state(TURN) == "warning"
    world.watch(1, OneCall(answers={"turn.example.com": TurnAnswer(0, world.now + 0.5)}))
    assert world.state(TURN) == "ok"


def test_a_refusal_before_the_last_test_of_turn_is_not_blamed_on_another_server() -> None:
    world = World()
    world.watch(1, OneCall(answers={"one.example.com": TurnAnswer(401, 0.5)}))
    world.problems.turn_tested(None, world.now, world.now)
    answers = {"one.example.com": TurnAnswer(401, 0.5), "two.example.com": TurnAnswer(0, world.now + 0.5)}
    world.watch(1, OneCall(answers=answers))
    assert world.state(TURN) == "ok"
    world.watch(1, OneCall(answers=answers | {"one.example.com": TurnAnswer(401, world.now + 0.5)}))
    assert world.state(TURN) == "warning"

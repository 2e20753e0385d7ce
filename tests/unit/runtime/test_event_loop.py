# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The loop waits between turns only while events come fast, and never with work at hand."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator

import pytest

from live_transcription.runtime.event_loop import FAST_PER_S, TURN_S, CoalescingSelector, new_event_loop


class Machine:
    """A selector with four sockets, each readable at every turn, on a clock that moves by sleeping and by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.selector = CoalescingSelector(clock=lambda: self.now, sleep=self._sleep)
        self._sockets: list[socket.socket] = []
        for _ in range(4):
            reader, writer = socket.socketpair()
            writer.send(b"a datagram that nobody takes")
            self.selector.register(reader, selectors.EVENT_READ)
            self._sockets += [reader, writer]

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def turns(self, count: int, apart_s: float, timeout: float | None = None) -> list[float]:
        """What each of so many turns slept, with events `apart_s` seconds apart."""
        before = len(self.slept)
        for _ in range(count):
            self.now += apart_s
            assert self.selector.select(timeout)
        return self.slept[before:]

    def close(self) -> None:
        self.selector.close()
        for each in self._sockets:
            each.close()


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.close()


def test_waits_for_nobody_while_few_speak(machine: Machine) -> None:
    assert machine.turns(200, 8 / FAST_PER_S) == []


def test_takes_turns_at_even_distance_while_many_speak(machine: Machine) -> None:
    machine.turns(1000, 0.1 / FAST_PER_S)

    slept = machine.turns(20, 0.1 / FAST_PER_S)

    assert len(slept) == 4  # what has queued up is taken first, at most four turns long
    assert all(0 < pause <= TURN_S for pause in slept)


def test_work_at_hand_is_never_delayed(machine: Machine) -> None:
    machine.turns(1000, 0.1 / FAST_PER_S)

    assert machine.turns(10, 0.1 / FAST_PER_S, timeout=0) == []


def test_a_timer_that_is_due_sooner_is_not_late(machine: Machine) -> None:
    machine.turns(1000, 0.1 / FAST_PER_S)

    assert max(machine.turns(10, 0.0, timeout=0.001)) <= 0.001


def test_a_timer_is_due_in_spite_of_a_flood(machine: Machine) -> None:
    machine.turns(1000, 0.1 / FAST_PER_S)
    machine.now += 1.0

    assert machine.turns(5, 0.0, timeout=0.5) == []


def test_stops_waiting_once_it_is_quiet_again(machine: Machine) -> None:
    machine.turns(1000, 0.1 / FAST_PER_S)
    machine.turns(2, 1.0)

    assert machine.turns(50, 8 / FAST_PER_S) == []


async def _answer() -> int:
    return 42


def test_runs_a_program() -> None:
    loop = new_event_loop()
    try:
        assert loop.run_until_complete(_answer()) == 42
    finally:
        loop.close()

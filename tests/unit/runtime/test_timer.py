# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from live_transcription.runtime.timer import DeadlineTimer
from sandbox import virtual_clock


def fired_at(script: Callable[[DeadlineTimer], None]) -> list[float]:
    """Run `script` at 0 s. Return the times at which the timer calls its function within 100 s."""

    async def run() -> list[float]:
        loop, times = asyncio.get_running_loop(), list[float]()
        timer = DeadlineTimer(lambda: times.append(loop.time()))
        script(timer)
        await asyncio.sleep(100)
        return times

    return virtual_clock.run(run())


def later(seconds: float, action: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, action)


def test_it_fires_once_at_its_deadline() -> None:
    assert fired_at(lambda timer: timer.set(3.0)) == [pytest.approx(3.0)]


@pytest.mark.parametrize("moved_to", [2.0, 3.0, 7.0])
def test_the_last_deadline_counts(moved_to: float) -> None:
    def script(timer: DeadlineTimer) -> None:
        timer.set(3.0)
        later(1.0, lambda: timer.set(moved_to))

    assert fired_at(script) == [pytest.approx(moved_to)]


def test_a_deadline_can_be_moved_with_every_frame() -> None:
    def script(timer: DeadlineTimer) -> None:
        for number in range(100):
            later(number * 0.08, lambda number=number: timer.set(number * 0.08 + 1.0))  # type: ignore[misc]

    assert fired_at(script) == [pytest.approx(99 * 0.08 + 1.0)]


def test_a_cancelled_deadline_does_not_fire_and_another_can_be_set() -> None:
    def script(timer: DeadlineTimer) -> None:
        timer.set(3.0)
        later(1.0, timer.cancel)
        later(5.0, lambda: timer.set(6.0))

    assert fired_at(script) == [pytest.approx(6.0)]


def test_it_can_be_set_again_by_what_it_calls() -> None:
    async def run() -> list[float]:
        loop, times = asyncio.get_running_loop(), list[float]()

        def fire() -> None:
            times.append(loop.time())
            if len(times) < 3:
                timer.set(loop.time() + 2.0)

        timer = DeadlineTimer(fire)
        timer.set(1.0)
        await asyncio.sleep(100)
        return times

    assert virtual_clock.run(run()) == [pytest.approx(at) for at in (1.0, 3.0, 5.0)]

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Bounds of the events that wait for a call, alone and together with those of other calls."""

from __future__ import annotations

import asyncio

import pytest

from live_transcription.signaling.event_queue import EventBudget, EventQueue
from live_transcription.signaling.events import ParticipantsLeft, SignalingEnded


def event(number: int) -> ParticipantsLeft:
    return ParticipantsLeft((str(number),))


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_writer_waits_beyond_the_limits_of_events_and_octets() -> None:
    budget = EventBudget()
    for queue, octets in ((EventQueue(3, budget=budget), 0), (EventQueue(octets=30, budget=budget), 10)):
        for number in range(3):
            await queue.put(event(number), octets)
        waiting = asyncio.create_task(queue.put(event(3), octets))
        await settled()
        assert not waiting.done()
        assert len(queue) == 3
        assert await queue.get() == event(0)
        await waiting
        assert [await queue.get() for _ in range(3)] == [event(1), event(2), event(3)]
    assert budget.used == 0


async def test_an_event_larger_than_the_limit_is_accepted_alone() -> None:
    queue = EventQueue(octets=30, budget=EventBudget(20))
    await queue.put(event(0), 1000)
    waiting = asyncio.create_task(queue.put(event(1), 0))
    await settled()
    assert not waiting.done()
    assert [await queue.get(), await queue.get()] == [event(0), event(1)]


async def test_calls_share_a_budget_and_each_gets_at_least_one_event() -> None:
    budget = EventBudget(100)
    large, small = EventQueue(budget=budget), EventQueue(budget=budget)
    for number in range(10):
        await large.put(event(number), 10)
    await small.put(event(0), 10)
    waiting = [asyncio.create_task(queue.put(event(99), 10)) for queue in (large, small)]
    await settled()
    assert not any(task.done() for task in waiting), "the budget is exhausted"
    assert budget.used == 110, "an empty queue accepts one event nevertheless"
    assert [await large.get() for _ in range(3)] == [event(0), event(1), event(2)]
    await asyncio.wait(waiting)
    assert budget.used == 100
    small.close()
    large.close()
    assert budget.used == 0


async def test_a_closed_queue_can_be_read_to_its_end_and_accepts_nothing() -> None:
    budget = EventBudget()
    queue = EventQueue(1, budget=budget)
    await queue.put(event(0), 10)
    waiting = asyncio.create_task(queue.put(event(1), 10))
    await settled()
    queue.close()
    await waiting
    assert budget.used == 0
    await queue.put(event(2), 10)
    assert await queue.get() == event(0)
    assert budget.used == 0
    with pytest.raises(SignalingEnded):
        await queue.get()


async def test_a_waiting_reader_is_woken_by_the_end() -> None:
    queue = EventQueue(budget=EventBudget())
    reading = asyncio.create_task(queue.get())
    await settled()
    queue.close()
    with pytest.raises(SignalingEnded):
        await reading


async def test_a_cancelled_writer_leaves_nothing_behind() -> None:
    budget = EventBudget()
    queue = EventQueue(1, budget=budget)
    await queue.put(event(0), 10)
    waiting = asyncio.create_task(queue.put(event(1), 10))
    await settled()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert len(queue) == 1
    assert budget.used == 10
    assert not budget.writers
    queue.close()

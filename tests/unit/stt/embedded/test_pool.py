# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from live_transcription.stt.embedded.pool import DecodePacing, DecodePool, Priority


def test_one_speaker_has_partials_at_the_wanted_interval() -> None:
    pace = DecodePacing(0.5, slots=2)
    pace.decoded("a", 0.3, now=0.0)
    assert pace.interval_s(0.1) == 0.5


def test_the_interval_grows_with_the_speakers_and_shrinks_when_they_stop() -> None:
    pace = DecodePacing(0.5, slots=2)
    for now in range(20):
        for speaker in range(6):
            pace.decoded(speaker, 0.4, now=float(now))
    busy = pace.interval_s(19.0)
    assert busy > 1.5
    decodes_per_s = 6 / busy
    assert decodes_per_s * 0.4 < 2
    for now in range(20, 30):
        pace.decoded(0, 0.3, now=float(now))
    assert pace.interval_s(29.0) == 0.5


def test_the_capacity_follows_the_time_that_decodes_take() -> None:
    pace = DecodePacing(0.5, slots=2)
    assert pace.capacity == 8
    for _ in range(30):
        pace.decoded("a", 0.33, now=0.0)
    assert pace.capacity == 6
    for _ in range(30):
        pace.decoded("a", 5.0, now=0.0)
    assert pace.capacity == 4, "as many as promised"
    for _ in range(60):
        pace.decoded("a", 0.02, now=0.0)
    assert pace.capacity > 60


async def test_finals_go_first_then_first_partials_then_the_rest() -> None:
    pool = DecodePool(1, 0.5)
    hold = threading.Event()
    order: list[str] = []

    def job(name: str) -> Callable[[], Callable[[], None]]:
        return lambda: lambda: order.append(name)

    blocked = asyncio.create_task(pool.run("x", Priority.HYPOTHESIS, lambda: lambda: hold.wait(10)))
    await asyncio.sleep(0)
    rest = [
        asyncio.create_task(pool.run(name, priority, job(name)))
        for name, priority in (
            ("partial", Priority.HYPOTHESIS),
            ("partial too", Priority.HYPOTHESIS),
            ("first partial", Priority.FIRST_WORDS),
            ("final", Priority.FINAL),
            ("final too", Priority.FINAL),
        )
    ]
    await asyncio.sleep(0)
    hold.set()
    await asyncio.gather(blocked, *rest)
    await pool.aclose()
    assert order == ["final", "final too", "first partial", "partial", "partial too"]


async def test_a_job_is_prepared_only_when_its_turn_has_come() -> None:
    pool = DecodePool(1, 0.5)
    hold = threading.Event()
    prepared = False

    def prepare() -> Callable[[], int]:
        nonlocal prepared
        prepared = True
        return lambda: 7

    blocked = asyncio.create_task(pool.run("x", Priority.HYPOTHESIS, lambda: lambda: hold.wait(10)))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(pool.run("y", Priority.FINAL, prepare))
    await asyncio.sleep(0.01)
    assert not prepared
    hold.set()
    assert await waiting == 7
    await blocked
    await pool.aclose()


async def test_giving_up_while_waiting_or_running_loses_no_slot() -> None:
    pool = DecodePool(1, 0.5)
    hold = threading.Event()
    running = asyncio.create_task(pool.run("x", Priority.HYPOTHESIS, lambda: lambda: hold.wait(10)))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(pool.run("y", Priority.HYPOTHESIS, lambda: lambda: 1))
    await asyncio.sleep(0)
    running.cancel()
    waiting.cancel()
    await asyncio.wait([running, waiting])
    hold.set()
    async with asyncio.timeout(5):
        assert await pool.run("z", Priority.HYPOTHESIS, lambda: lambda: 2) == 2
    await pool.aclose()


async def test_a_withdrawn_decode_is_not_begun_and_finals_are_never_withdrawn() -> None:
    pool = DecodePool(1, 0.5)
    hold = threading.Event()
    running = asyncio.create_task(pool.run("x", Priority.HYPOTHESIS, lambda: lambda: hold.wait(10)))
    await asyncio.sleep(0)
    hypothesis = asyncio.create_task(pool.run("y", Priority.HYPOTHESIS, lambda: lambda: "hypothesis"))
    other = asyncio.create_task(pool.run("z", Priority.HYPOTHESIS, lambda: lambda: "other"))
    final = asyncio.create_task(pool.run("y", Priority.FINAL, lambda: lambda: "final"))
    await asyncio.sleep(0)
    pool.withdraw("y")
    assert await hypothesis is None
    hold.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(running, final, other) == [True, "final", "other"]
        assert await pool.run("x", Priority.FINAL, lambda: None) is None
        assert await pool.run("x", Priority.FINAL, lambda: lambda: "free") == "free"
    await pool.aclose()


async def test_an_error_reaches_the_caller_and_frees_the_slot() -> None:
    pool = DecodePool(1, 0.5)

    def fail() -> None:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await pool.run("x", Priority.FINAL, lambda: fail)
    assert await pool.run("x", Priority.FINAL, lambda: lambda: 3) == 3
    await pool.aclose()


async def test_slowing_down_and_recovering_are_each_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    pool = DecodePool(1, 0.5, clock=lambda: now)

    async def decode(speaker: int, cost_s: float) -> None:
        def prepare() -> Callable[[], None]:
            def job() -> None:
                nonlocal now
                now += cost_s

            return job

        await pool.run(speaker, Priority.HYPOTHESIS, prepare)

    for _ in range(5):
        for speaker in range(4):
            await decode(speaker, 0.4)
    assert pool.crowded
    now += 10
    for _ in range(20):
        await decode(0, 0.2)
    assert not pool.crowded
    await pool.aclose()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "concurrent speakers: 2, concurrent decodes: 1" in messages[0]
    assert "is back to" in messages[1]


async def test_the_last_free_slot_is_kept_for_what_cannot_wait() -> None:
    pool = DecodePool(2, 0.5)
    hold = threading.Event()
    done: list[str] = []

    def job(name: str) -> Callable[[], Callable[[], None]]:
        return lambda: lambda: done.append(name)

    first = asyncio.create_task(pool.run("a", Priority.HYPOTHESIS, lambda: lambda: hold.wait(10)))
    await asyncio.sleep(0)
    second = asyncio.create_task(pool.run("b", Priority.HYPOTHESIS, job("partial")))
    await asyncio.sleep(0)
    await pool.run("c", Priority.FINAL, job("final"))
    await pool.run("d", Priority.FIRST_WORDS, job("first partial"))
    assert done == ["final", "first partial"]
    hold.set()
    await asyncio.gather(first, second)
    await pool.aclose()
    assert done[-1] == "partial"

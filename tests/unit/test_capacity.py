# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the process can take, watched over time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import pytest

from live_transcription.capacity import Capacity
from live_transcription.observability.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.stt.audio_budget import AudioBudget
from sandbox import virtual_clock

MB = 1 << 20


class Machine:
    def __init__(self) -> None:
        self.used_mb = 100
        self.reads = 0
        self.speakers = 0
        self.waiting = 0
        self.releases = 0
        self.held_mb = 0
        self.limits_mb = [1000]
        self.audio = AudioBudget()
        self.capacity = Capacity(
            speakers=lambda: self.speakers,
            waiting=lambda: self.waiting,
            audio=self.audio,
            read=self.read,
            release=self.release,
        )

    def read(self) -> MemoryReading:
        self.reads += 1
        used = (self.used_mb + self.held_mb) * MB
        return MemoryReading(used, tuple(MemoryBound(MemorySource.CONTAINER, used, limit * MB) for limit in self.limits_mb))

    def release(self) -> None:
        self.releases += 1
        self.held_mb = 0

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        watching = asyncio.create_task(self.capacity.watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])


def test_memory_is_read_once_a_second_however_many_ask_and_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    machine = Machine()

    async def run() -> None:
        async with machine.watched():
            await asyncio.sleep(10.1)
            assert machine.reads <= 12
            machine.used_mb, machine.waiting = 850, 7
            await asyncio.sleep(2.1)
            for _ in range(50):
                assert not machine.capacity.admit()
            assert [shortage.code for shortage in machine.capacity.shortages()] == ["memory"]
            await asyncio.sleep(60)
            assert caplog.text.count("Memory is short") == 1
            machine.used_mb, machine.waiting = 700, 0
            await asyncio.sleep(2.1)
            assert machine.capacity.admit()
            assert machine.capacity.shortages() == ()
            assert caplog.text.count("No longer short of: memory") == 1
            memory = machine.capacity.memory()
            assert (memory.resident, memory.used, memory.limit, memory.source) == (700 * MB, 700 * MB, 1000 * MB, "container")

    virtual_clock.run(run())


def test_memory_that_is_only_held_is_given_back_before_anybody_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """After many have left, most of what they took is free, and still counts as the process's."""
    machine = Machine()

    async def run() -> None:
        async with machine.watched():
            machine.used_mb, machine.held_mb = 200, 700
            await asyncio.sleep(4)
            assert machine.releases == 1
            assert machine.capacity.admit()
            assert "Memory is short" not in caplog.text
            machine.used_mb = 900
            await asyncio.sleep(300)
            assert 4 <= machine.releases <= 12, "tried again now and then while memory stays short"

    virtual_clock.run(run())


async def test_a_busy_loop_makes_captions_come_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_transcription.capacity.LAG_S", 0.001)
    machine = Machine()
    async with machine.watched(), asyncio.timeout(20):
        while machine.capacity.pace.stretch < 2.0:
            time.sleep(0.1)  # noqa: ASYNC251  this is the load
            await asyncio.sleep(0)
        assert machine.capacity.load().interval_stretch >= 2.0
        assert machine.capacity.load().lag_s > 0.05
        while machine.capacity.pace.stretch > 1.0:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


def test_new_settings_count_from_the_next_reading() -> None:
    machine = Machine()

    async def run() -> None:
        async with machine.watched():
            machine.speakers = 3
            assert machine.capacity.admit()
            machine.capacity.limit(3, 0)
            assert not machine.capacity.admit()
            machine.capacity.limit(500, 110)
            await asyncio.sleep(2)
            assert not machine.capacity.admit()
            assert machine.capacity.memory().source == "setting"

    virtual_clock.run(run())


def test_audio_that_waits_may_take_a_quarter_of_the_smallest_limit_of_memory() -> None:
    machine = Machine()

    async def run() -> list[int]:
        allowed = []
        async with machine.watched():
            for limits, setting_mb in (([4000], 0), ([64_000, 512], 0), ([4000], 600), ([20], 0), ([], 0)):
                machine.limits_mb = limits
                machine.capacity.limit(10, setting_mb)
                await asyncio.sleep(1.1)
                allowed.append(machine.audio.limit_bytes // MB)
        return allowed

    assert virtual_clock.run(run()) == [256, 128, 150, 16, 256]

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Slots, subscriptions, memory and load over time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from live_transcription.audio_store.budget import AudioBudget
from live_transcription.capacity.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.capacity.watch import MAX_SUBSCRIPTIONS, Capacity, PublisherClaims
from sandbox import virtual_clock

MB = 1 << 20


class Machine:
    def __init__(self) -> None:
        self.used_mb = 100
        self.reads = 0
        self.releases = 0
        self.held_mb = 0
        self.limits_mb = [1000]
        self.audio = AudioBudget()
        self.engines: int | None = None
        self.capacity = Capacity(
            audio=self.audio,
            read=self.read,
            release=self.release,
            engine_capacity=lambda: self.engines,
        )

    def read(self) -> MemoryReading:
        self.reads += 1
        used = (self.used_mb + self.held_mb) * MB
        return MemoryReading(used, tuple(MemoryBound(MemorySource.CONTAINER, used, limit * MB) for limit in self.limits_mb))

    def release(self) -> None:
        self.releases += 1
        self.held_mb = 0

    def speak(self, call: str = "call") -> PublisherClaims:
        claims = self.capacity.claims(call, lambda: None)
        claims.speaking()
        return claims

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        watching = asyncio.create_task(self.capacity.watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])


def test_memory_is_read_once_a_second_for_any_number_of_speakers() -> None:
    machine = Machine()

    async def run() -> None:
        async with machine.watched():
            await asyncio.sleep(10.1)
            assert machine.reads <= 12
            machine.used_mb = 850
            await asyncio.sleep(2.1)
            refused = [machine.speak() for _ in range(50)]
            assert not any(claims.held for claims in refused)
            assert machine.capacity.speakers_waiting == 50
            assert [shortage.code for shortage in machine.capacity.shortages()] == ["memory"]
            await asyncio.sleep(60)
            machine.used_mb = 700
            await asyncio.sleep(2.1)
            assert all(claims.held for claims in refused)
            assert machine.capacity.shortages() == ()
            memory = machine.capacity.memory()
            assert (memory.resident, memory.used, memory.limit, memory.source) == (700 * MB, 700 * MB, 1000 * MB, "container")

    virtual_clock.run(run())


def test_free_memory_is_returned_before_a_speaker_is_refused() -> None:
    """After many have left, most of what they took is free, and still counts as the process's."""
    machine = Machine()

    async def run() -> None:
        async with machine.watched():
            machine.used_mb, machine.held_mb = 200, 700
            await asyncio.sleep(4)
            assert machine.releases == 1
            assert machine.speak().held
            assert machine.capacity.shortages() == ()
            machine.used_mb = 900
            await asyncio.sleep(300)
            assert 4 <= machine.releases <= 12, "tried again now and then while memory stays short"

    virtual_clock.run(run())


async def test_a_busy_loop_makes_captions_less_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_transcription.capacity.watch.LAG_S", 0.001)
    machine = Machine()
    async with machine.watched(), asyncio.timeout(20):
        while machine.capacity.interval.stretch < 2.0:
            time.sleep(0.1)  # noqa: ASYNC251  this is the load
            await asyncio.sleep(0)
        assert machine.capacity.load().interval_stretch >= 2.0
        assert machine.capacity.load().lag_s > 0.05
        while machine.capacity.interval.stretch > 1.0:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


def test_new_settings_apply_from_the_next_reading() -> None:
    machine = Machine()

    async def run() -> None:
        async with machine.watched():
            machine.capacity.limit(3, 0)
            assert [machine.speak().held for _ in range(4)] == [True, True, True, False]
            (shortage,) = machine.capacity.shortages()
            assert shortage.code == "speakers"
            assert "All 3 speech-to-text streams are in use. 1 speaker is not being transcribed." in shortage.message
            machine.speak()
            assert "2 speakers are not being transcribed." in machine.capacity.shortages()[0].message
            machine.capacity.limit(500, 110)
            await asyncio.sleep(2)
            assert machine.capacity.memory().source == "setting"
            assert not machine.speak().held

    virtual_clock.run(run())


def test_speakers_beyond_the_capacity_of_the_engines_wait_and_the_condition_says_so() -> None:
    machine = Machine()

    async def run() -> None:
        async with machine.watched():
            machine.capacity.limit(500, 0)
            machine.engines = 8
            speakers = [machine.speak() for _ in range(10)]
            assert [speaker.held for speaker in speakers] == [True] * 8 + [False] * 2
            assert machine.capacity.speakers_waiting == 2
            (shortage,) = machine.capacity.shortages()
            assert shortage.code == "speakers"
            assert "can transcribe 8 speakers at the same time. 2 speakers are not being transcribed." in shortage.message
            # A decode was slow: nobody loses a slot, and nobody gets one.
            machine.engines = 3
            speakers[0].release()
            await asyncio.sleep(1)
            assert [speaker.held for speaker in speakers[1:]] == [True] * 7 + [False] * 2
            # Slots still move from silent speakers to waiting ones.
            speakers[1].silent()
            await asyncio.sleep(11)
            assert speakers[8].held
            # A remote engine works again.
            machine.engines = None
            await asyncio.sleep(1)
            assert speakers[9].held
            assert machine.capacity.shortages() == ()

    virtual_clock.run(run())


def test_silent_publishers_take_no_slot() -> None:
    machine = Machine()

    async def run() -> None:
        async with machine.watched():
            machine.capacity.limit(3, 0)
            claimants = [machine.capacity.claims("a", lambda: None) for _ in range(1000)]
            assert all(claims.subscribe() for claims in claimants[:100])
            assert machine.capacity.slots == 0
            speakers = [machine.speak("a") for _ in range(50)]
            assert sum(claims.held for claims in speakers) == 3
            assert machine.speak("b").held
            assert machine.capacity.slots == 3

    virtual_clock.run(run())


def test_a_slot_moves_within_a_second_after_ten_seconds_of_silence() -> None:
    machine = Machine()

    async def run() -> None:
        async with machine.watched():
            loop = asyncio.get_running_loop()
            machine.capacity.limit(1, 0)
            first = machine.speak()
            taken: list[float] = []
            first.on_slot = lambda: taken.append(loop.time())
            first.silent()
            silent_since = loop.time()
            await asyncio.sleep(7)
            second = machine.speak()
            assert not second.held
            await asyncio.sleep(5)
            assert second.held
            assert 10.0 <= taken[0] - silent_since <= 11.0
            second.release()
            assert machine.speak().held

    virtual_clock.run(run())


def test_a_released_claim_changes_nothing() -> None:
    """The last words of somebody who has left may have a pause in them."""
    machine = Machine()

    async def run() -> None:
        async with machine.watched():
            machine.capacity.limit(1, 0)
            gone = machine.speak()
            gone.silent()
            gone.release()
            assert gone.speaking(), "what it had at the end"
            gone.lost()
            gone.release()
            assert (machine.capacity.slots, machine.capacity.speakers_waiting) == (0, 0)
            assert machine.speak().held

    virtual_clock.run(run())


def test_subscriptions_are_limited_and_silent_publishers_take_turns() -> None:
    machine = Machine()
    machine.limits_mb = []

    async def run() -> None:
        async with machine.watched():
            many = [machine.capacity.claims("a", lambda: None) for _ in range(MAX_SUBSCRIPTIONS + 10)]
            for claims in many:
                claims.subscribe()
            assert sum(claims.subscribed for claims in many) == MAX_SUBSCRIPTIONS
            assert [shortage.code for shortage in machine.capacity.shortages()] == ["subscriptions"]
            other = machine.capacity.claims("b", lambda: None)
            assert other.subscribe(), "one call cannot take all"
            await asyncio.sleep(75)
            assert all(claims.subscribed for claims in many[-10:])
            assert machine.capacity.shortages() == ()

    virtual_clock.run(run())


def test_buffered_audio_may_take_a_quarter_of_the_smallest_memory_limit() -> None:
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

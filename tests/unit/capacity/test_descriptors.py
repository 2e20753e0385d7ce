# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Calls and speakers are refused before the last file descriptor is taken."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.call.call import Call
from live_transcription.capacity.admission import CALL_DESCRIPTORS, SETTLE_S, SPEAKER_DESCRIPTORS, DescriptorAdmission
from live_transcription.capacity.descriptors import DescriptorReading, http_connections, raise_limit, read_descriptors, reserve
from live_transcription.capacity.memory import MemoryReading
from live_transcription.capacity.watch import Capacity
from live_transcription.errors import OutOfDescriptors
from sandbox import virtual_clock
from tests.fakes.call import join_and_stay
from tests.unit.test_service import SNAPSHOT, service


def budget(used: int, limit: int | None) -> DescriptorAdmission:
    made = DescriptorAdmission()
    made.observe(DescriptorReading(used, limit))
    return made


def test_calls_and_speakers_leave_the_reserve_free() -> None:
    ours = budget(1024 - reserve(1024) - SPEAKER_DESCRIPTORS + 1, 1024)
    assert ours.room(SPEAKER_DESCRIPTORS, 0.0) == 0
    assert ours.room(CALL_DESCRIPTORS, 0.0) >= 1, "a call takes less"
    (shortage,) = ours.shortages(0.0)
    assert shortage.code == "descriptors"
    assert "of 1024." in shortage.message


def test_a_promise_counts_until_a_reading_includes_it() -> None:
    ours = budget(100, 1024)
    room = ours.room(SPEAKER_DESCRIPTORS, 0.0)
    assert room == (1024 - 100 - reserve(1024)) // SPEAKER_DESCRIPTORS
    ours.promise(int(room) * SPEAKER_DESCRIPTORS, 0.0)
    assert ours.room(SPEAKER_DESCRIPTORS, SETTLE_S - 0.1) == 0
    assert ours.room(SPEAKER_DESCRIPTORS, SETTLE_S) == room


def test_without_a_limit_there_is_always_room() -> None:
    ours = budget(0, None)
    ours.promise(1_000_000, 0.0)
    assert ours.room(SPEAKER_DESCRIPTORS, 0.0) == math.inf
    assert ours.shortages(0.0) == ()


@given(st.integers(1, 1 << 20), st.integers(0, 1 << 20))
def test_room_never_includes_the_reserve(limit: int, used: int) -> None:
    ours = budget(used, limit)
    taken = ours.room(SPEAKER_DESCRIPTORS, 0.0) * SPEAKER_DESCRIPTORS
    assert taken == 0 or used + taken + http_connections(limit) < limit
    assert 16 <= http_connections(limit) <= 256


def test_descriptors_of_this_process_are_counted() -> None:
    before = read_descriptors()
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]
    try:
        assert read_descriptors().used == before.used + 10
        assert read_descriptors().limit == before.limit
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_all_descriptors_count_as_used_when_none_is_left_to_count_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 1024))
    monkeypatch.setattr(os, "stat", fail)
    reading = read_descriptors()
    monkeypatch.undo()
    assert reading == DescriptorReading(256, 256)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ((1024, 524_288), (524_288, 524_288)),
        ((256, 256), None),
        ((1024, resource.RLIM_INFINITY), (1 << 20, resource.RLIM_INFINITY)),
        ((1 << 21, 1 << 22), None),
    ],
)
def test_the_soft_limit_is_raised_to_the_hard_one(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], wanted: tuple[int, int] | None
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, values: asked.append(values))
    limit = raise_limit()
    monkeypatch.undo()
    assert asked == ([] if wanted is None else [wanted])
    assert limit == (limits if wanted is None else wanted)[0]


def test_subscriptions_wait_until_descriptors_are_free() -> None:
    reading = [DescriptorReading(250, 256)]

    async def run() -> None:
        capacity = Capacity(read=lambda: MemoryReading(0), read_descriptors=lambda: reading[0])
        watching = asyncio.create_task(capacity.watch())
        granted: list[float] = []
        claims = capacity.claims("room", lambda: granted.append(asyncio.get_running_loop().time()))
        assert not claims.subscribe()
        with pytest.raises(OutOfDescriptors) as refused:
            capacity.require_call()
        assert refused.value.code == "out_of_descriptors"
        await asyncio.sleep(60)
        assert not granted
        assert [shortage.code for shortage in capacity.shortages()] == ["descriptors"]
        reading[0] = DescriptorReading(10, 256)
        await asyncio.sleep(1.5)
        assert claims.subscribed
        assert len(granted) == 1
        assert capacity.shortages() == ()
        watching.cancel()

    virtual_clock.run(run(), limit_s=1000)


def test_the_service_refuses_new_calls_and_keeps_running_ones(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reading = [DescriptorReading(10, 256)]

    monkeypatch.setattr(Call, "run", join_and_stay)

    async def run() -> None:
        async with service(read_descriptors=lambda: reading[0]) as ours:
            await ours.enable("first", "nc1")
            reading[0] = DescriptorReading(250, 256)
            await asyncio.sleep(2.5)
            with pytest.raises(OutOfDescriptors):
                await ours.enable("second", "nc1")
            await ours.enable("first", "nc2")
            ours.restore([SNAPSHOT])
            assert [call.room_token for call in ours.export()] == ["first"]
            assert [condition.code for condition in ours.status().conditions] == ["descriptors"]
            reading[0] = DescriptorReading(10, 256)
            await asyncio.sleep(2.5)
            await ours.enable("second", "nc1")
            assert ours.status().conditions == ()

    virtual_clock.run(run(), loopback_s=0.0)
    told = [record.getMessage() for record in caplog.records if vars(record).get("code") == "descriptors"]
    assert len([message for message in told if message.startswith("Too many files are open: 250 of 256")]) == 1

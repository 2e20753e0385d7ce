# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Calls and speakers are refused while there are descriptors left for those that run."""

from __future__ import annotations

import asyncio
import errno
import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription import descriptors as module
from live_transcription.call.call import Call
from live_transcription.descriptors import (
    CALL_DESCRIPTORS,
    SETTLE_S,
    SPEAKER_DESCRIPTORS,
    DescriptorBudget,
    DescriptorReading,
    Descriptors,
    http_connections,
    raise_limit,
    read_descriptors,
    reserve,
)
from live_transcription.errors import OutOfDescriptors
from live_transcription.service import TranscriptionService
from sandbox import virtual_clock
from tests.unit.test_service import SNAPSHOT, service


def budget(used: int, limit: int | None) -> DescriptorBudget:
    made = DescriptorBudget()
    made.observe(DescriptorReading(used, limit))
    return made


def test_the_reserve_is_kept_and_half_of_it_for_who_comes_back() -> None:
    ours = budget(1024 - reserve(1024) - SPEAKER_DESCRIPTORS + 1, 1024)
    assert not ours.admit(SPEAKER_DESCRIPTORS, 0.0)
    assert ours.admit(CALL_DESCRIPTORS, 0.0), "a call takes less"
    assert ours.admit(SPEAKER_DESCRIPTORS, 0.0, replacing=True)
    (shortage,) = ours.shortages(0.0)
    assert shortage.code == "descriptors"
    assert "of 1024 are in use" in shortage.message


def test_who_was_admitted_counts_until_a_reading_shows_it() -> None:
    ours = budget(100, 1024)
    admitted = sum(ours.admit(SPEAKER_DESCRIPTORS, 0.0) for _ in range(1000))
    assert admitted == (1024 - 100 - reserve(1024)) // SPEAKER_DESCRIPTORS
    assert not ours.admit(SPEAKER_DESCRIPTORS, SETTLE_S - 0.1)
    assert ours.admit(SPEAKER_DESCRIPTORS, SETTLE_S)


def test_without_a_limit_everybody_is_admitted() -> None:
    ours = budget(0, None)
    assert all(ours.admit(SPEAKER_DESCRIPTORS, 0.0) for _ in range(10_000))
    assert ours.shortages(0.0) == ()


@given(st.integers(1, 1 << 20), st.integers(0, 1 << 20))
def test_what_is_admitted_leaves_http_and_half_the_spare(limit: int, used: int) -> None:
    ours = budget(used, limit)
    taken = 0
    for _ in range(50):
        taken += SPEAKER_DESCRIPTORS * ours.admit(SPEAKER_DESCRIPTORS, 0.0)
    assert taken == 0 or used + taken + http_connections(limit) < limit
    assert 16 <= http_connections(limit) <= 256


def test_this_process_is_read() -> None:
    before = read_descriptors()
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]
    try:
        assert read_descriptors().used == before.used + 10
        assert read_descriptors().limit == before.limit
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_where_even_the_counting_finds_no_descriptor_all_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_end_of_a_shortage_wakes_those_who_wait() -> None:
    reading = [DescriptorReading(10, 256)]
    woken: list[float] = []

    async def run() -> None:
        ours = Descriptors(read=lambda: reading[0], on_free=lambda: woken.append(asyncio.get_running_loop().time()))
        watching = asyncio.create_task(ours.watch())
        await asyncio.sleep(10)
        assert ours.shortages() == ()
        reading[0] = DescriptorReading(250, 256)
        await asyncio.sleep(60)
        assert not ours.admit_speaker(returning=False)
        with pytest.raises(OutOfDescriptors) as refused:
            ours.require_call()
        assert refused.value.code == "out_of_descriptors"
        assert not woken
        reading[0] = DescriptorReading(10, 256)
        await asyncio.sleep(1.1)
        assert len(woken) == 1
        watching.cancel()

    virtual_clock.run(run(), limit_s=1000)


def test_the_service_refuses_new_calls_and_keeps_those_that_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reading = [DescriptorReading(10, 256)]
    monkeypatch.setattr(module.Descriptors.__init__, "__kwdefaults__", {"read": lambda: reading[0], "on_free": lambda: None})

    async def stay(call: Call) -> None:
        call.joined.set()
        await call._ended.wait()

    monkeypatch.setattr(Call, "run", stay)

    async def run() -> None:
        async with service() as ours:
            await ours.enable("first", "nc1")
            reading[0] = DescriptorReading(250, 256)
            await asyncio.sleep(2)
            with pytest.raises(OutOfDescriptors):
                await ours.enable("second", "nc1")
            await ours.enable("first", "nc2")
            ours.restore([SNAPSHOT])
            assert [call.room_token for call in ours.export()] == ["first"]
            assert [condition.code for condition in ours.status().conditions] == ["descriptors"]
            reading[0] = DescriptorReading(10, 256)
            await asyncio.sleep(2)
            await ours.enable("second", "nc1")
            assert ours.status().conditions == ()

    virtual_clock.run(run(), loopback_s=0.0)
    told = [record.getMessage() for record in caplog.records if vars(record).get("code") == "descriptors"]
    assert len([message for message in told if message.startswith("Open files are short: 250 of 256")]) == 1


def test_the_end_of_a_shortage_admits_speakers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    readmitted: list[str] = []
    monkeypatch.setattr(Call, "readmit", lambda call: readmitted.append(call.room_token))

    async def run() -> None:
        async with service() as ours:
            ours.restore([SNAPSHOT])
            assert isinstance(ours, TranscriptionService)
            ours._readmit()

    virtual_clock.run(run(), loopback_s=0.0)
    assert readmitted == ["room"]

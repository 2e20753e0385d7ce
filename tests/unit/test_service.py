# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The service as owner of calls that fail; what goes on in calls: `tests/integration/test_call.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from live_transcription.call.call import Call
from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import TooManyCalls
from live_transcription.observability import metrics
from live_transcription.observability.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.service import TranscriptionService
from live_transcription.status import CallSnapshot
from live_transcription.stt.audio_budget import PROCESS_BUDGET
from live_transcription.types import IceServer, Secret
from sandbox import virtual_clock
from tests.fakes.stt import FakeRegistry

CONFIG = EngineConfig(hpb=HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com"))
SNAPSHOT = CallSnapshot("room", "en", (("nc1", "user-1"),))


async def no_servers() -> Sequence[IceServer]:
    return ()


def service(**changes: int) -> TranscriptionService:
    registry = FakeRegistry()
    return TranscriptionService(replace(CONFIG, **changes), no_servers, registry=registry, wall_clock=lambda: 0.0)  # type: ignore[arg-type]


def test_a_call_that_fails_again_and_again_is_started_less_and_less_often_and_can_be_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began_at: list[float] = []
    lives_s = 0.0

    async def fail(call: Call) -> None:
        began_at.append(asyncio.get_running_loop().time())
        if lives_s:
            call.joined.set()
            await asyncio.sleep(lives_s)
            call.joined.clear()
        raise RuntimeError("unexpected")

    monkeypatch.setattr(Call, "run", fail)

    async def run() -> None:
        nonlocal lives_s
        async with service() as ours:
            ours.restore([SNAPSHOT])
            await asyncio.sleep(1000)
            waits = [later - earlier for earlier, later in pairwise(began_at)]
            assert 2.5 <= waits[0] <= 5.1
            assert 20 <= waits[3] <= 41
            assert all(60 <= wait <= 121 for wait in waits[5:])
            assert ours.export()[0].targets[0][0] == "nc1", "who reads is not forgotten"
            assert ours.status().calls == 0
            lives_s = 61.0
            await asyncio.sleep(200)
            assert began_at[-1] - began_at[-2] <= 61.0 + 5.1, "well for a minute: its failure counts as the first"
            lives_s = 0.0
            await asyncio.sleep(300)
            left_at = asyncio.get_running_loop().time()
            await ours.leave("room")
            assert asyncio.get_running_loop().time() - left_at < 0.1, "nobody waits for what waits"
            starts = len(began_at)
            await asyncio.sleep(500)
            assert len(began_at) == starts
            assert ours.export() == ()

    virtual_clock.run(run(), loopback_s=0.0)


def test_beyond_the_limit_of_calls_another_one_is_refused_and_those_that_run_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stay(call: Call) -> None:
        call.joined.set()
        await call._ended.wait()

    monkeypatch.setattr(Call, "run", stay)

    def refused() -> float:
        return metrics.registry.get_sample_value("live_transcription_calls_refused_total", {"code": "too_many_calls"}) or 0.0

    async def run() -> None:
        before = refused()
        async with service(max_calls=2) as ours:
            ours.restore([CallSnapshot("restored", "en", (("nc1", None),))])
            await ours.enable("second", "nc2")
            with pytest.raises(TooManyCalls, match="2 other calls are being captioned") as failure:
                await ours.enable("third", "nc3")
            assert failure.value.code == "too_many_calls"
            assert failure.value.retryable
            assert refused() == before + 1
            await ours.enable("second", "nc4")
            assert ours.status().targets == 3, "more readers are welcome in a call that runs"
            ours.restore([CallSnapshot(f"more-{number}", "en", (("nc1", None),)) for number in range(3)])
            assert ours.status().calls == 2
            await ours.leave("restored")
            await ours.enable("third", "nc3")
            assert ours.status().calls == 2

    virtual_clock.run(run(), loopback_s=0.0)


def test_new_settings_join_running_calls_anew_at_the_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[str] = []

    async def stay(call: Call) -> None:
        joined.append(call.room_token)
        call.joined.set()
        await call._ended.wait()

    monkeypatch.setattr(Call, "run", stay)

    async def run() -> None:
        async with service(max_calls=1) as ours:
            await ours.enable("room", "nc1")
            await asyncio.sleep(0.1)
            ours.apply(replace(CONFIG, max_calls=1, hpb=replace(CONFIG.hpb, url="wss://other.example.com")))
            await asyncio.sleep(0.1)
            assert joined == ["room", "room"]

    virtual_clock.run(run(), loopback_s=0.0)


def test_audio_that_waits_in_any_call_is_bounded_by_the_memory_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROCESS_BUDGET, "limit_bytes", PROCESS_BUDGET.limit_bytes)
    reading = MemoryReading(100 << 20, (MemoryBound(MemorySource.CONTAINER, 100 << 20, 400 << 20),))
    TranscriptionService(CONFIG, no_servers, registry=FakeRegistry(), wall_clock=lambda: 0.0, read_memory=lambda: reading)  # type: ignore[arg-type]
    assert PROCESS_BUDGET.limit_bytes == 100 << 20


def test_the_end_of_the_service_waits_for_no_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(call: Call) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(Call, "run", fail)

    async def run() -> None:
        async with service() as ours:
            ours.restore([SNAPSHOT])
            await asyncio.sleep(100)
            ended_at = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - ended_at < 0.1

    virtual_clock.run(run(), loopback_s=0.0)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Limits of GPU minutes and connections on Modal."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

from live_transcription.config import EngineConfig, HpbConfig, ModalConfig, SttConfig
from live_transcription.errors import SttAtCapacity, SttBudgetSpent
from live_transcription.service import TranscriptionService
from live_transcription.status import Condition, GpuUsage
from live_transcription.stt.engines import SttRegistry
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.kyutai.modal.backend import ModalBackend
from live_transcription.stt.kyutai.modal.budget import LINGER_S, SESSIONS_PER_GPU, GpuBudget, Socket
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.stt.resilient.retry import ResiliencePolicy
from live_transcription.types import IceServer, Secret
from sandbox.virtual_clock import run
from tests.unit.stt.kyutai.kyutai_model import FRAME_S, Captions, KyutaiModel, silence, speech
from tests.unit.stt.kyutai.modal.test_backend import Handler, Proxy, words

DAY_S = 86_400.0
NOON = 20_000 * DAY_S + DAY_S / 2


def opened(budget: GpuBudget, now: float, count: int = 1) -> list[Socket]:
    sockets = [budget.request(now, NOON + now) for _ in range(count)]
    for socket in sockets:
        budget.opened(socket, now, NOON + now)
    return sockets


def used_s(budget: GpuBudget, now: float) -> float:
    return budget.usage(now, NOON + now).seconds


def test_a_gpu_counts_while_it_has_connections_and_a_minute_longer() -> None:
    budget = GpuBudget()
    (socket,) = opened(budget, 0.0)
    assert used_s(budget, 30.0) == 30.0
    budget.closed(socket, 100.0, NOON + 100)
    assert used_s(budget, 110.0) == 110.0
    assert used_s(budget, 500.0) == 100.0 + LINGER_S
    assert used_s(budget, 1000.0) == 100.0 + LINGER_S


def test_connections_share_a_gpu_and_the_next_one_starts_another() -> None:
    budget = GpuBudget()
    sockets = opened(budget, 0.0, SESSIONS_PER_GPU)
    assert used_s(budget, 10.0) == 10.0
    sockets += opened(budget, 10.0)
    assert used_s(budget, 20.0) == 30.0
    budget.closed(sockets.pop(), 20.0, NOON + 20)
    assert used_s(budget, 20.0 + LINGER_S + 10) == 30.0 + 2 * LINGER_S + 10


def test_a_gpu_that_is_still_up_is_used_again() -> None:
    budget = GpuBudget()
    for now in range(0, 1000, 50):
        (socket,) = opened(budget, float(now))
        budget.closed(socket, now + 10.0, NOON + now + 10)
    assert used_s(budget, 960.0) == 960.0


def test_a_cold_start_counts_and_one_that_fails_does_not() -> None:
    budget = GpuBudget()
    socket = budget.request(0.0, NOON)
    budget.closed(socket, 40.0, NOON + 40)
    assert used_s(budget, 40.0) == 0.0
    socket = budget.request(40.0, NOON + 40)
    budget.opened(socket, 100.0, NOON + 100)
    assert used_s(budget, 100.0) == 60.0
    assert budget.status(100.0, NOON + 100).sockets == 1


def test_the_day_begins_at_midnight_utc() -> None:
    budget = GpuBudget()
    budget.limit(10, 0)
    midnight = 20_001 * DAY_S
    budget.opened(budget.request(0.0, midnight - 900), 0.0, midnight - 900)
    assert budget.spent(600.0, midnight - 300)
    with pytest.raises(SttBudgetSpent, match="10 GPU minutes"):
        budget.request(600.0, midnight - 300)
    assert not budget.spent(930.0, midnight + 30)
    assert budget.usage(930.0, midnight + 30) == GpuUsage(20_001, pytest.approx(30.0))


def test_what_an_earlier_process_used_today_counts_and_yesterday_does_not() -> None:
    budget = GpuBudget()
    budget.limit(10, 0)
    budget.restore(GpuUsage(20_000, 540.0))
    opened(budget, 0.0)
    assert not budget.spent(59.0, NOON + 59)
    assert budget.spent(60.0, NOON + 60)
    other = GpuBudget()
    other.restore(GpuUsage(19_999, 540.0))
    assert other.usage(0.0, NOON) == GpuUsage(20_000, 0.0)


@given(
    steps=st.lists(st.tuples(st.floats(0, 400), st.booleans()), max_size=30),
    looks=st.lists(st.floats(0, 13_000), max_size=20),
)
def test_the_usage_does_not_depend_on_how_often_it_is_read(steps: list[tuple[float, bool]], looks: list[float]) -> None:
    def total(looks: Sequence[float]) -> float:
        budget, now, sockets = GpuBudget(), 0.0, list[Socket]()
        for wait_s, opens in steps:
            for look in sorted(looks):
                if now < look < now + wait_s:
                    used_s(budget, look)
            now += wait_s
            if opens:
                sockets += opened(budget, now)
            elif sockets:
                budget.closed(sockets.pop(), now, NOON + now)
        return used_s(budget, now)

    assert total(looks) == pytest.approx(total(()), abs=1e-6)


def test_connections_that_are_being_opened_count_against_the_limit() -> None:
    budget = GpuBudget()
    budget.limit(0, 2)
    first, second = budget.request(0.0, NOON), budget.request(0.0, NOON)
    with pytest.raises(SttAtCapacity, match="All 2 connections"):
        budget.request(0.0, NOON)
    budget.closed(first, 1.0, NOON + 1)
    budget.opened(second, 1.0, NOON + 1)
    budget.request(1.0, NOON + 1)
    budget.limit(0, 0)
    budget.request(1.0, NOON + 1)


def conditions(budget: GpuBudget, *, alone: bool = False) -> list[Condition]:
    return list(budget.conditions(0.0, NOON, alone=alone))


@pytest.mark.parametrize(
    ("minutes", "alone", "text"),
    [
        (7.9, False, ""),
        (8.0, False, "8 of today's 10 GPU minutes on Modal are used. When they are used up, the next engine"),
        (8.0, True, "When they are used up, captions stop until midnight (UTC), since no other engine may be used."),
        (10.0, False, "are used up. The next engine transcribes until midnight (UTC)."),
        (10.0, True, "are used up. Captions stop until midnight (UTC), since no other engine may be used. Raise the limit"),
    ],
)
def test_a_condition_warns_at_80_percent_and_says_what_happens_at_100(minutes: float, alone: bool, text: str) -> None:
    budget = GpuBudget()
    budget.limit(10, 0)
    budget.restore(GpuUsage(20_000, 60 * minutes))
    found = conditions(budget, alone=alone)
    assert [condition.code for condition in found] == (["modal-minutes"] if text else [])
    assert all(text in f"{condition.message} {condition.fix}" for condition in found)


def test_connections_have_a_condition_of_their_own() -> None:
    budget = GpuBudget()
    budget.limit(0, 5)
    opened(budget, 0.0, 3)
    assert conditions(budget) == []
    opened(budget, 0.0)
    (condition,) = conditions(budget)
    assert condition.message == "4 of at most 5 connections to Modal are open."
    assert "next engine" in condition.fix
    assert "no captions" in conditions(budget, alone=True)[0].fix


# The stream of a speaker, in virtual time.


def counting(frames: list[int]) -> Handler:
    """Modal, as a proxy that names each word by its number in the audio, as `KyutaiModel` does, 0.48 s late."""

    async def handle(connection: ServerConnection) -> None:
        recent: deque[np.ndarray] = deque(maxlen=7)
        async for message in connection:
            assert isinstance(message, bytes)
            recent.append(np.frombuffer(message, "<f4"))
            frames.append(len(recent[-1]))
            if len(recent) == recent.maxlen:
                for value in recent[0][np.flatnonzero(recent[0])]:
                    await connection.send(f'{{"type":"token","text":"w{round(float(value) * 1000) - 1}"}}')

    return handle


async def told(modal: ModalBackend, helper: KyutaiModel, sentences: Sequence[tuple[int, float]]) -> list[int]:
    """The words of a speaker who says so many words and then pauses, and so on."""
    captions = Captions()
    backend = ResilientBackend(
        FallbackBackend((modal, helper), random=Random(1)), policy=ResiliencePolicy(ring_s=60.0), random=Random(1)
    )
    clock = asyncio.get_running_loop().time

    async def read() -> None:
        async for event in stream.events():
            captions.feed(event, clock())

    async with backend.open_stream("en") as stream, asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        word = 0
        for count, pause_s in sentences:
            for frame in [*speech(word, count), *silence(0.56)]:
                await asyncio.sleep(FRAME_S)
                await stream.send(frame)
            word += count
            await stream.flush()
            await asyncio.sleep(pause_s)
        await stream.end()
    return captions.words


def spent_after(seconds: float) -> GpuBudget:
    budget = GpuBudget()
    budget.limit(100, 0)
    budget.restore(GpuUsage(20_000, 6000.0 - seconds))
    return budget


@pytest.mark.parametrize("sentences", [[(20, 1.0), (20, 1.0), (10, 1.0)], [(120, 1.0)]], ids=["with pauses", "without a pause"])
def test_the_next_engine_serves_when_the_minutes_are_used_up_and_no_word_is_lost(sentences: list[tuple[int, float]]) -> None:
    async def scenario() -> None:
        frames: list[int] = []
        helper = KyutaiModel()
        clock = asyncio.get_running_loop().time
        async with Proxy(counting(frames)).running() as proxy:
            modal = ModalBackend(ModalConfig(url=proxy.url), budget=spent_after(5.0), wall_clock=lambda: NOON + clock())
            said = await told(modal, helper, sentences)
            assert said == list(range(sum(count for count, _ in sentences)))
            # Modal got the first sentence, or 10 s more than it was allowed; the helper got the rest, in one stream.
            assert sum(frames) / 24_000 < 5.0 + 10.0 + 2.0
            assert len(helper.opened) == 1

    run(scenario())


def test_modal_serves_again_after_midnight() -> None:
    async def scenario() -> None:
        frames: list[int] = []
        helper = KyutaiModel()
        clock = asyncio.get_running_loop().time
        midnight = 20_001 * DAY_S
        async with Proxy(counting(frames)).running() as proxy:
            modal = ModalBackend(
                ModalConfig(url=proxy.url), budget=spent_after(0.0), wall_clock=lambda: midnight - 30 + clock()
            )
            with pytest.raises(SttBudgetSpent):
                await modal.warm()
            modal._warm_until = float("inf")  # this proxy has no /health
            assert await told(modal, helper, [(20, 30.0), (20, 30.0), (20, 60.0), (20, 1.0)]) == list(range(80))
            assert len(helper.opened) == 1
            assert frames

    run(scenario())


def test_speakers_beyond_the_limit_of_connections_use_the_next_engine() -> None:
    async def scenario() -> None:
        helper = KyutaiModel()
        budget = GpuBudget()
        budget.limit(0, 1)
        async with Proxy(words).running() as proxy:
            modal = ModalBackend(ModalConfig(url=proxy.url), budget=budget, wall_clock=lambda: NOON)
            backend = FallbackBackend((modal, helper), random=Random(1))
            async with backend.open_stream("en"), backend.open_stream("en"):
                assert len(helper.opened) == 1
                assert [(each.name, each.state) for each in backend.health] == [("modal", "full"), ("kyutai", "unknown")]
                assert "All 1 connections to Modal are open." in backend.health[0].problem
                # A probe that succeeds would make the second stream return to Modal, and fail again, at each pause.
                await asyncio.sleep(300)
                assert backend.health[0].state == "full"
            assert budget.status(0.0, NOON).sockets == 0

    run(scenario())


def test_the_service_reports_limits_and_keeps_them_through_new_settings() -> None:
    async def no_servers() -> Sequence[IceServer]:
        return ()

    async def scenario() -> None:
        modal = ModalConfig(url="ws://127.0.0.1:9", minutes_per_day=10)
        hpb = HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com")
        config = EngineConfig(hpb=hpb, stt=SttConfig(embedded=None, modal=modal))
        async with TranscriptionService(config, no_servers, wall_clock=lambda: NOON) as service:
            service.restore_gpu_usage(GpuUsage(20_000, 570.0))
            await asyncio.sleep(2)
            (condition,) = service.status().conditions
            assert condition.code == "modal-minutes"
            assert "no other engine" in condition.fix
            gpu = service.speech_status().gpu
            assert gpu is not None
            assert (gpu.minutes_today, gpu.minutes_limit) == (9.5, 10)
            text = service.metrics().decode()
            assert "live_transcription_modal_gpu_seconds_today 570.0" in text
            assert "live_transcription_modal_gpu_seconds_limit 600.0" in text
            service.apply(
                EngineConfig(hpb=hpb, stt=SttConfig(embedded=None, modal=ModalConfig(url=modal.url, minutes_per_day=9)))
            )
            await asyncio.sleep(2)
            (condition,) = service.status().conditions
            assert "used up. Captions stop until midnight" in condition.message
            with pytest.raises(SttBudgetSpent):
                await service.prepare()
            service.apply(EngineConfig(hpb=hpb, stt=SttConfig(embedded=None)))
            await asyncio.sleep(2)
            assert service.status().conditions == ()
            assert service.gpu_usage() == GpuUsage(20_000, 570.0)

    run(scenario())


def test_a_registry_without_a_budget_has_no_limit() -> None:
    assert SttRegistry(SttConfig()).budget.refusal(0.0, NOON) is None

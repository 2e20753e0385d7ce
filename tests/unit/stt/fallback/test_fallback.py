# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import pytest

from live_transcription.errors import SttAtCapacity, SttError, SttRefused, SttStarting, SttUnavailable
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.stt.resilient.retry import ResiliencePolicy
from live_transcription.types import Frame
from sandbox.virtual_clock import run
from tests.fakes.stt_counts import SttCounts
from tests.unit.stt.kyutai.kyutai_model import FRAME_S, Captions, KyutaiModel, silence, speech


class Embedded(KyutaiModel):
    name = "whisper"
    languages = frozenset({"en", "fr", "de"})

    def __init__(self) -> None:
        super().__init__(whole=True, acknowledges=False, opening_s=lambda now: 0.0, latency_s=0.3)


async def play(backend: FallbackBackend, parts: Sequence[Sequence[Frame] | None], language: str = "en") -> Captions:
    """A speaker on `backend`, below the resilient backend as in the product, in real time. None is a flush."""
    captions = Captions()
    loop = asyncio.get_running_loop()
    resilient = ResilientBackend(backend, policy=ResiliencePolicy(ring_s=60), random=Random(1))
    async with resilient.open_stream(language) as stream, asyncio.TaskGroup() as tasks:

        async def read() -> None:
            async for event in stream.events():
                captions.feed(event, loop.time())

        tasks.create_task(read())
        for part in parts:
            if part is None:
                await stream.flush()
                continue
            for frame in part:
                await asyncio.sleep(FRAME_S)
                await stream.send(frame)
        await stream.end()
    return captions


def sentences(count: int) -> list[Sequence[Frame] | None]:
    """Sentences of ten words in four seconds, each followed by a pause of a second."""
    parts: list[Sequence[Frame] | None] = []
    for sentence in range(count):
        parts += [speech(sentence * 10, 10), silence(0.6), None, silence(0.4)]
    return parts


def fallback(*backends: KyutaiModel, patience_s: float = 15) -> FallbackBackend:
    return FallbackBackend(backends, patience_s=patience_s, random=Random(1))


def test_the_best_backend_that_supports_the_language_is_used() -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(), Embedded()
        backend = fallback(kyutai, embedded)
        assert backend.languages == {"en", "fr", "de"}
        assert backend.name == "kyutai+whisper"
        await play(backend, sentences(1), "en")
        await play(backend, sentences(1), "de")
        assert (len(kyutai.attempts), len(embedded.attempts)) == (1, 1)
        with pytest.raises(SttRefused, match="language"):
            async with backend.open_stream("xx"):
                pass

    run(scenario())


@pytest.mark.parametrize("error", [SttUnavailable("down"), SttAtCapacity("full"), SttRefused("HTTP 401")])
def test_a_backend_that_cannot_be_opened_costs_no_time(error: SttError) -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(failure=lambda now: error, opening_s=lambda now: 0.1), Embedded()
        backend = fallback(kyutai, embedded)
        captions = await play(backend, sentences(2))
        assert captions.words == list(range(20))
        assert captions.shown_at[0] < 2.0
        report = backend.health[0]
        assert report.name == "kyutai"
        assert report.problem == str(error)
        assert report.state in ("down", "full", "refused")
        assert backend.health[1].state == "up"

    run(scenario())


def test_a_backend_that_refuses_is_never_tried_again() -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(failure=lambda now: SttRefused("HTTP 401")), Embedded()
        backend = fallback(kyutai, embedded)
        for _ in range(10):
            await play(backend, sentences(10))
        assert len(kyutai.attempts) == 1
        assert kyutai.warmed == []

    run(scenario())


def test_after_an_outage_the_next_backend_continues_and_the_best_returns_at_a_pause_without_losing_a_word() -> None:
    counts = SttCounts()

    async def scenario() -> None:
        kyutai = KyutaiModel(break_at=(12.5,), failure=lambda now: SttUnavailable("down") if 12 < now < 40 else None)
        embedded = Embedded()
        backend = fallback(kyutai, embedded)
        captions = await play(backend, sentences(20))
        assert captions.words == list(range(200))
        assert captions.restarts == 1
        assert len(embedded.opened) == 1
        assert len(kyutai.opened) == 2
        # The first probe fails, and the next one comes a minute later. The switch itself waits for a pause.
        assert kyutai.warmed[1] - kyutai.warmed[0] >= 60
        assert 40 < kyutai.opened[1] < kyutai.warmed[1] + 6
        assert backend.health[0].state == "up"
        assert counts.switches == {"whisper": 1, "kyutai": 1}

    run(scenario())


def test_speakers_of_different_languages_are_no_switch_of_the_backend() -> None:
    counts = SttCounts()

    async def scenario() -> None:
        backend = fallback(KyutaiModel(), Embedded())
        for language in ("en", "de", "en", "de"):
            await play(backend, sentences(1), language)
        assert not counts.switches

    run(scenario())


def test_one_break_of_a_connection_that_has_worked_does_not_change_the_backend() -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(break_at=(12.5,)), Embedded()
        backend = fallback(kyutai, embedded)
        captions = await play(backend, sentences(5))
        assert captions.words == list(range(50))
        assert embedded.attempts == []

    run(scenario())


def test_the_next_backend_bridges_a_long_cold_start() -> None:
    async def scenario() -> None:
        kyutai = KyutaiModel(
            opening_s=lambda now: max(0.2, 60 - now), failure=lambda now: SttStarting("starting") if now < 60 else None
        )
        embedded = Embedded()
        backend = fallback(kyutai, embedded, patience_s=5)
        captions = await play(backend, sentences(40))
        assert captions.words == list(range(400))
        assert captions.shown_at[0] < 7
        assert kyutai.opened
        assert backend.health[0].state == "up"

    run(scenario())


def test_backends_that_are_down_are_tried_if_there_is_no_other() -> None:
    async def scenario() -> None:
        kyutai = KyutaiModel(failure=lambda now: SttUnavailable("down") if now < 10 else None)
        backend = fallback(kyutai)
        captions = await play(backend, sentences(4))
        assert captions.words == list(range(40))

    run(scenario())


def test_many_streams_share_one_probe() -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(failure=lambda now: SttUnavailable("down")), Embedded()
        backend = fallback(kyutai, embedded)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(6):
                tasks.create_task(play(backend, sentences(20)))
        # 100 s: after 2 s, and then once a minute.
        assert len(kyutai.warmed) == 2

    run(scenario())


def test_warming_continues_with_the_next_backend() -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(failure=lambda now: SttUnavailable("down")), Embedded()
        backend = fallback(kyutai, embedded)
        await backend.warm()
        assert len(kyutai.warmed) == len(embedded.warmed) == 1
        assert [report.state for report in backend.health] == ["down", "up"]
        alone = fallback(kyutai)
        with pytest.raises(SttUnavailable):
            await alone.warm()

    run(scenario())


def test_no_task_is_left_behind() -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(failure=lambda now: SttUnavailable("down")), Embedded()
        async with fallback(kyutai, embedded).open_stream("en") as stream:
            await stream.send(speech(0, 1)[0])
            await asyncio.sleep(10)
        assert len(asyncio.all_tasks()) == 1

    run(scenario())

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.audio_store.budget import AudioBudget
from live_transcription.errors import SttAtCapacity, SttError, SttExpired, SttRefused, SttStarting, SttUnavailable
from live_transcription.observability import metrics
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.stt.resilient.retry import ResiliencePolicy
from live_transcription.transcript import Flushed, Hypothesis, SttEvent, Token
from live_transcription.types import SAMPLE_RATE, Frame
from sandbox.virtual_clock import run
from tests.fakes.stt_counts import SttCounts
from tests.unit.stt.kyutai.kyutai_model import FRAME_S, Captions, KyutaiModel, silence, speech


class Talk:
    """Plays frames into a stream in real time, as a speaker does, and reads its events."""

    def __init__(self, backend: ResilientBackend) -> None:
        self.backend = backend
        self.captions = Captions()
        self.lags: list[tuple[float, float]] = []

    async def play(self, *parts: Sequence[Frame] | None) -> None:
        """Play the parts, flush for each None among them, and end the stream."""
        loop = asyncio.get_running_loop()
        async with self.backend.open_stream("en") as stream, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.read(stream))
            for part in parts:
                if part is None:
                    await stream.flush()
                    continue
                for frame in part:
                    await asyncio.sleep(FRAME_S)
                    await stream.send(frame)
                    self.lags.append((loop.time(), stream.waiting_s))
            await stream.end()

    async def read(self, stream: SttStream) -> None:
        loop = asyncio.get_running_loop()
        async for event in stream.events():
            self.captions.feed(event, loop.time())


def resilient(model: KyutaiModel, **policy: float) -> ResilientBackend:
    return ResilientBackend(model, policy=ResiliencePolicy(**policy), random=Random(1))


def words(count: int) -> list[int]:
    return list(range(count))


def test_a_stream_opens_at_once_and_emits_every_word() -> None:
    async def scenario() -> None:
        model = KyutaiModel()
        talk = Talk(resilient(model))
        await talk.play(speech(0, 10), silence(0.5), None, silence(0.5), speech(10, 10), None)
        assert talk.captions.closed == words(20)
        assert talk.captions.restarts == 0
        assert len(model.attempts) == 1
        assert model.open == 0

    run(scenario())


def test_no_connection_before_there_is_audio() -> None:
    async def scenario() -> None:
        model = KyutaiModel()
        async with resilient(model).open_stream("en") as stream:
            await stream.flush()
            assert [type(event).__name__ async for event in _first(stream, 1)] == ["Flushed"]
            await asyncio.sleep(60)
        assert model.attempts == []

    run(scenario())


async def _first(stream: SttStream, count: int):  # type: ignore[no-untyped-def]
    async for event in stream.events():
        yield event
        count -= 1
        if not count:
            return


@pytest.mark.parametrize("hanging", [True, False], ids=["handshake hangs", "handshake fails"])
def test_a_cold_start_of_a_minute_loses_nothing_and_its_lag_is_gone_within_25_s(hanging: bool) -> None:
    counts = SttCounts()

    async def scenario() -> None:
        model = KyutaiModel(
            opening_s=lambda now: max(0.3, 60 - now) if hanging else 0.3,
            failure=lambda now: None if now >= 60 else SttStarting("starting"),
        )
        backend = resilient(model, ring_s=90)
        talk = Talk(backend)
        await talk.play(speech(0, 250), None)
        assert talk.captions.closed == words(250)
        assert counts.dropped_s == 0
        assert talk.captions.restarts == 0
        up = model.opened[0]
        assert up < 64
        assert max(lag for at, lag in talk.lags if at > up + 25) < 0.2

    run(scenario())


@pytest.mark.parametrize("acknowledges", [True, False], ids=["steps", "quiet"])
def test_an_outage_of_ten_seconds_in_mid_sentence_loses_nothing(acknowledges: bool) -> None:
    counts = SttCounts()

    async def scenario() -> None:
        model = KyutaiModel(
            break_at=(7.03,), failure=lambda now: SttUnavailable("down") if 7 < now < 17 else None, acknowledges=acknowledges
        )
        backend = resilient(model)
        talk = Talk(backend)
        await talk.play(speech(0, 5), silence(0.6), None, silence(0.4), speech(5, 60), silence(0.6), None)
        assert talk.captions.closed == words(65)
        assert talk.captions.restarts == 1
        assert counts.dropped_s == 0
        assert 4 < counts.replayed_s < 5
        assert counts.reconnects["stt_unavailable"] >= 3

    run(scenario())


@given(
    breaks=st.lists(st.floats(1, 40), max_size=4),
    outage_s=st.floats(0, 12),
    acknowledges=st.booleans(),
    latency_s=st.sampled_from([0.0, 0.05, 0.2]),
    sentences=st.lists(st.tuples(st.integers(1, 20), st.sampled_from([0.6, 1.0, 3.0])), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_no_break_at_any_time_loses_or_repeats_a_word(
    breaks: list[float], outage_s: float, acknowledges: bool, latency_s: float, sentences: list[tuple[int, float]]
) -> None:
    async def scenario() -> None:
        model = KyutaiModel(
            break_at=tuple(breaks),
            failure=lambda now: SttUnavailable("down") if any(at <= now < at + outage_s for at in breaks) else None,
            acknowledges=acknowledges,
            latency_s=latency_s,
        )
        talk = Talk(resilient(model, ring_s=120))
        parts: list[Sequence[Frame] | None] = []
        spoken = 0
        for count, pause_s in sentences:
            parts += [speech(spoken, count), silence(0.6), None, silence(pause_s)]
            spoken += count
        await talk.play(*parts)
        assert talk.captions.words == words(spoken)

    run(scenario())


def test_words_that_a_dying_server_withholds_are_transcribed_again_although_it_seemed_to_flush() -> None:
    async def scenario() -> None:
        model = KyutaiModel(acknowledges=False, mute=(3.0, 8.0), break_at=(8.0,))
        talk = Talk(resilient(model))
        await talk.play(speech(0, 10), silence(0.6), None, silence(3.0), speech(10, 5), silence(0.6), None)
        assert talk.captions.closed == words(15)

    run(scenario())


def test_a_break_after_a_pause_within_a_replay_loses_none_of_the_following_words() -> None:
    async def scenario() -> None:
        model = KyutaiModel(acknowledges=False, latency_s=0.4, opening_s=lambda now: 5.0, break_at=(7.93,))
        talk = Talk(resilient(model))
        await talk.play(speech(0, 2), silence(0.6), None, speech(2, 27), silence(0.6), None)
        assert talk.captions.words == words(29)

    run(scenario())


def test_a_break_in_a_monologue_without_pauses_replays_only_its_last_seconds() -> None:
    counts = SttCounts()

    async def scenario() -> None:
        model = KyutaiModel(break_at=(70.0,))
        backend = resilient(model)
        talk = Talk(backend)
        await talk.play(speech(0, 250), None)
        assert talk.captions.closed == words(250)
        assert talk.captions.restarts == 1
        assert counts.replayed_s <= 15.1
        assert counts.dropped_s == 0

    run(scenario())


@pytest.mark.parametrize("starts_word", [True, None])
def test_an_engine_that_rewrites_emits_the_whole_utterance_although_it_gets_only_its_last_seconds(
    starts_word: bool | None,
) -> None:
    async def scenario() -> None:
        model = KyutaiModel(
            break_at=(40.0,),
            failure=lambda now: SttUnavailable("down") if now >= 40 else None,
            spell=lambda word: Token(f"w{word}" if starts_word else f" w{word}", starts_word),
        )
        helper = KyutaiModel(whole=True)
        talk = Talk(ResilientBackend(FallbackBackend((model, helper), random=Random(1)), random=Random(1)))
        await talk.play(speech(0, 150), silence(0.6), None, speech(150, 10), None)
        assert talk.captions.closed == words(160)
        assert talk.captions.restarts == 1

    run(scenario())


def test_an_outage_longer_than_the_ring_drops_the_oldest_audio_and_counts_it() -> None:
    counts = SttCounts()

    async def scenario() -> None:
        model = KyutaiModel(break_at=(10.0,), failure=lambda now: SttUnavailable("down") if 10 <= now < 70 else None)
        backend = resilient(model, ring_s=20)
        talk = Talk(backend)
        await talk.play(speech(0, 20), silence(0.6), None, speech(20, 280), None)
        closed = talk.captions.closed
        assert closed == sorted(set(closed))
        assert closed[:20] == words(20)
        missing = 300 - len(closed)
        # One word every 0.4 s: the counter matches the missing words.
        assert counts.dropped_s == pytest.approx(missing * 0.4, abs=1.5)
        assert 35 < counts.dropped_s < 62
        assert closed[-1] == 299

    run(scenario())


def test_rotation_at_a_pause_changes_no_word() -> None:
    counts = SttCounts()

    async def scenario() -> None:
        model = KyutaiModel(replaceable_after_s=30)
        backend = resilient(model)
        talk = Talk(backend)
        parts: list[Sequence[Frame] | None] = []
        for sentence in range(20):
            parts += [speech(sentence * 10, 10), silence(0.6), None, silence(0.4)]
        await talk.play(*parts)
        assert talk.captions.closed == words(200)
        assert talk.captions.restarts == 0
        assert counts.reconnects == {"rotation": 3} or counts.reconnects == {"rotation": 2}
        assert counts.replayed_s < 3

    run(scenario())


class Answering(SttBackend):
    """Its streams answer each flush with the same events, may be replaced at any pause, and break after `break_s`."""

    name = "answering"
    languages = frozenset({"en"})

    def __init__(self, *events: SttEvent, break_s: float | None) -> None:
        self.events = events
        self.break_s = break_s
        self.opened = 0

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        self.opened += 1
        yield _AnsweringStream(self, self.break_s if self.opened == 1 else None)


class _AnsweringStream(SttStream):
    def __init__(self, backend: Answering, break_s: float | None) -> None:
        self._backend = backend
        self._arriving: asyncio.Queue[SttEvent | None] = asyncio.Queue()
        self._break_at = None if break_s is None else asyncio.get_running_loop().time() + break_s

    @property
    def replaceable(self) -> bool:
        return self._break_at is None and self._backend.break_s is None

    async def send(self, frame: Frame) -> None:
        if self._break_at is not None and asyncio.get_running_loop().time() >= self._break_at:
            raise SttUnavailable("broke")

    async def flush(self) -> None:
        for event in self._backend.events:
            self._arriving.put_nowait(event)

    async def end(self) -> None:
        self._arriving.put_nowait(None)

    async def events(self) -> AsyncIterator[SttEvent]:
        while (event := await self._arriving.get()) is not None:
            yield event


@pytest.mark.parametrize("break_s", [None, 1.0], ids=["rotation", "break"])
@pytest.mark.parametrize(
    "events",
    [(Token("w0", True), Flushed()), (Hypothesis("w0", False), Hypothesis("w0", True), Flushed())],
    ids=["words", "hypotheses"],
)
def test_an_event_that_waits_for_its_reader_is_not_lost_with_its_connection(
    events: tuple[SttEvent, ...], break_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live_transcription.stt.resilient.stream.EVENT_QUEUE", 1)

    async def scenario() -> None:
        captions = Captions()
        backend = ResilientBackend(Answering(*events, break_s=break_s), random=Random(1))
        async with backend.open_stream("en") as stream:
            await stream.send(silence(1.0)[0])
            await stream.flush()
            await asyncio.sleep(2.0)  # the first event fills the queue, and the next one waits
            if break_s is not None:
                await stream.send(silence(1.0)[0])
                await asyncio.sleep(5.0)
            async with asyncio.timeout(30):
                async for event in stream.events():
                    captions.feed(event, 0.0)
                    if captions.closed and isinstance(event, Flushed):
                        break
        assert captions.closed == [0]

    run(scenario())


def test_a_refusal_is_raised_at_once_and_never_retried() -> None:
    async def scenario() -> None:
        model = KyutaiModel(failure=lambda now: SttRefused("HTTP 401"))
        async with resilient(model).open_stream("en") as stream:
            await stream.send(speech(0, 1)[0])
            with pytest.raises(SttRefused):
                async for _ in stream.events():
                    pass
            with pytest.raises(SttRefused):
                await stream.send(speech(0, 1)[0])
        await asyncio.sleep(600)
        assert len(model.attempts) == 1

    run(scenario())


@pytest.mark.parametrize("error", [SttAtCapacity("full"), SttUnavailable("down")], ids=["full", "down"])
def test_failures_back_off_up_to_a_steady_interval(error: SttError) -> None:
    async def scenario() -> None:
        model = KyutaiModel(failure=lambda now: error, opening_s=lambda now: 0.0)
        async with resilient(model).open_stream("en") as stream:
            await stream.send(speech(0, 1)[0])
            await asyncio.sleep(300)
        waits = np.diff(model.attempts)
        assert all(0.5 * 2**n <= wait <= 2**n for n, wait in enumerate(waits[:5]))
        assert all(15 <= wait <= 20 for wait in waits[5:])

    run(scenario())


def test_a_server_that_accepts_sessions_only_to_close_them_is_not_flooded() -> None:
    async def scenario() -> None:
        model = KyutaiModel(break_at=tuple(np.arange(0.1, 300, 0.05)), opening_s=lambda now: 0.0)
        talk = Talk(resilient(model, drain_s=60))
        with pytest.raises(ExceptionGroup):
            await talk.play(speech(0, 500))
        assert len(model.attempts) < 30

    run(scenario())


def test_an_expired_session_is_replaced_at_once_and_an_idle_one_at_the_next_speech() -> None:
    async def scenario() -> None:
        model = KyutaiModel(break_at=(15.0, 60.0), break_error=lambda: SttExpired("limit"))
        talk = Talk(resilient(model))
        await talk.play(speech(0, 50), silence(0.6), None)
        assert talk.captions.closed == words(50)
        assert model.attempts[1] == pytest.approx(15.0, abs=0.01)

        model = KyutaiModel(break_at=(35.0,), break_error=lambda: SttExpired("idle"))
        backend = resilient(model)
        captions = Captions()
        start = asyncio.get_running_loop().time()
        model.break_at = (start + 35.0,)
        async with backend.open_stream("en") as stream, asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(_feed(stream, captions))
            for frame in speech(0, 5):
                await stream.send(frame)
            await stream.flush()
            await asyncio.sleep(100)
            assert len(model.attempts) == 1
            for frame in speech(5, 5):
                await stream.send(frame)
            await stream.end()
            await reader
        assert captions.words == words(10)
        assert len(model.attempts) == 2

    run(scenario())


async def _feed(stream: SttStream, captions: Captions) -> None:
    async for event in stream.events():
        captions.feed(event, 0.0)


def test_the_last_words_arrive_although_there_is_no_connection_at_the_end() -> None:
    async def scenario() -> None:
        model = KyutaiModel(break_at=(3.0,), failure=lambda now: SttUnavailable("down") if 3 <= now < 20 else None)
        talk = Talk(resilient(model))
        await talk.play(speech(0, 20))
        assert talk.captions.words == words(20)

    run(scenario())


def test_waiting_for_the_last_words_ends_with_the_last_error() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        model = KyutaiModel(failure=lambda now: SttUnavailable("down"))
        async with resilient(model, drain_s=30).open_stream("en") as stream:
            await stream.send(speech(0, 1)[0])
            await stream.end()
            with pytest.raises(SttUnavailable, match="down"):
                async for _ in stream.events():
                    pass
        assert loop.time() == pytest.approx(30, abs=0.1)

    run(scenario())


def test_a_hanging_handshake_ends_with_the_stream() -> None:
    async def scenario() -> None:
        model = KyutaiModel(opening_s=lambda now: 1e6)
        async with resilient(model).open_stream("en") as stream:
            await stream.send(speech(0, 1)[0])
            await asyncio.sleep(1)
        assert asyncio.get_running_loop().time() == pytest.approx(1)
        assert len(asyncio.all_tasks()) == 1

    run(scenario())


def test_memory_is_bounded_while_no_connection_opens() -> None:
    counts = SttCounts()

    async def scenario() -> None:
        budget = AudioBudget(10**9)
        model = KyutaiModel(opening_s=lambda now: 100.0)
        backend = ResilientBackend(model, policy=ResiliencePolicy(ring_s=10), random=Random(1), budget=budget)
        before = metrics.registry.get_sample_value("live_transcription_stt_flush_seconds_count")
        async with backend.open_stream("en") as stream:
            for _ in range(5000):
                await stream.send(np.zeros(1920, np.float32))
                await stream.flush()
            assert budget.used_bytes <= 11 * SAMPLE_RATE * 4
            await stream.end()
            flushed = [event async for event in stream.events() if isinstance(event, Flushed)]
        assert len(flushed) <= 10 / FRAME_S + 2
        assert metrics.registry.get_sample_value("live_transcription_stt_flush_seconds_count") == (before or 0) + len(flushed)
        assert counts.dropped_s == pytest.approx(5000 * FRAME_S - 10, abs=0.1)

    run(scenario())


def test_a_bug_ends_the_events_and_is_raised() -> None:
    class Faulty(KyutaiModel):
        def open_stream(self, language: str):  # type: ignore[no-untyped-def, override]
            raise ZeroDivisionError

    async def use() -> None:
        async with resilient(Faulty()).open_stream("en") as stream:
            await stream.send(speech(0, 1)[0])
            with pytest.raises(SttError):
                await _feed(stream, Captions())

    async def scenario() -> None:
        with pytest.raises(ZeroDivisionError):
            await use()

    run(scenario())


def test_settings_out_of_range_are_refused() -> None:
    for bad in ({"ring_s": 0}, {"ring_s": 121}, {"replay_speed": 1}):
        with pytest.raises(ValueError, match="must be"):
            ResiliencePolicy(**bad)

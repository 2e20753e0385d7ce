# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from itertools import pairwise

import pytest

from live_transcription.config import EmbeddedConfig, SttConfig
from live_transcription.errors import SttModelError
from live_transcription.stt.base import Flushed, Hypothesis, SttEvent, SttStream
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.pool import DecodePool, Priority, Result
from live_transcription.stt.embedded.stream import EmbeddedStream
from live_transcription.stt.engines import CurrentBackend, SttRegistry
from live_transcription.types import Frame
from tests.unit.stt.fake_engine import FakeEngine, frames, silence, words


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def backend(engine: FakeEngine) -> AsyncIterator[EmbeddedBackend]:
    backend = EmbeddedBackend(engine, EmbeddedConfig(slots=2, hypothesis_interval_s=0.01))
    yield backend
    engine.hold.set()
    await backend.aclose()


async def say(stream: SttStream, *samples: Frame) -> None:
    for part in samples:
        for frame in frames(part):
            await stream.send(frame)


async def until_end(stream: SttStream) -> list[SttEvent]:
    async with asyncio.timeout(10):
        return [event async for event in stream.events()]


async def wait_until_decoding(engine: FakeEngine) -> None:
    await engine.wait_until(lambda: engine.running > 0)


def finals(events: Sequence[SttEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Hypothesis) and event.final]


def partials(events: Sequence[SttEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Hypothesis) and not event.final]


def numbers(first: int, last: int) -> str:
    return " ".join(str(n) for n in range(first, last + 1))


async def test_a_flush_gives_the_final_and_then_says_so(backend: EmbeddedBackend) -> None:
    async with backend.open_stream("en") as stream:
        await say(stream, words(3), silence(0.5))
        await stream.flush()
        await say(stream, words(2, first=4), silence(0.5))
        await stream.flush()
        await stream.end()
        events = await until_end(stream)
    told = [event.text if isinstance(event, Hypothesis) else event for event in events if not _is_partial(event)]
    assert told == ["1 2 3", Flushed(), "4 5", Flushed()]


def _is_partial(event: SttEvent) -> bool:
    return isinstance(event, Hypothesis) and not event.final


async def test_the_end_delivers_what_is_open_even_in_mid_word(backend: EmbeddedBackend) -> None:
    async with backend.open_stream("en") as stream:
        await say(stream, words(4)[:-6000])
        await stream.end()
        assert finals(await until_end(stream)) == ["1 2 3 4"]


async def test_the_end_while_a_decode_is_under_way_still_delivers_the_final(
    backend: EmbeddedBackend, engine: FakeEngine
) -> None:
    engine.hold.clear()
    async with backend.open_stream("en") as stream:
        await say(stream, words(4))
        await wait_until_decoding(engine)
        await say(stream, words(2, first=5))
        await stream.end()
        engine.hold.set()
        assert finals(await until_end(stream)) == ["1 2 3 4 5 6"]


async def test_hypotheses_grow(backend: EmbeddedBackend, engine: FakeEngine) -> None:
    async def read(stream: SttStream) -> list[SttEvent]:
        return [event async for event in stream.events()]

    async with backend.open_stream("en") as stream, asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read(stream))
        for n in range(1, 9):
            before = len(engine.decodes)
            await say(stream, words(1, first=n))
            if n >= 3:
                await engine.wait_until(lambda: len(engine.decodes) > before)  # noqa: B023  awaited in this round
        await stream.end()
    shown = partials(reader.result())
    assert finals(reader.result()) == [numbers(1, 8)]
    assert len(shown) >= 3
    assert shown == sorted(shown, key=len)
    assert all(numbers(1, 8).startswith(text) for text in shown)


@pytest.mark.parametrize("silence_s", [0.0, 0.5])
async def test_the_first_hypothesis_waits_for_speech_and_not_for_silence_before_it(
    backend: EmbeddedBackend, engine: FakeEngine, silence_s: float
) -> None:
    async with backend.open_stream("en") as stream:
        await say(stream, silence(silence_s), words(1))
        for _ in range(20):
            await asyncio.sleep(0)
        assert engine.decodes == []
        assert engine.running == 0
        await say(stream, words(2, first=2))
        await engine.wait_until(lambda: len(engine.decodes) == 1)
        assert engine.decodes[0][0] == "partial"


class RecordingPool(DecodePool):
    """Records the priority of each decode."""

    def __init__(self) -> None:
        super().__init__(2, 0.01)
        self.priorities: list[Priority] = []

    async def run(self, speaker: Hashable, priority: Priority, prepare: Callable[[], Callable[[], Result]]) -> Result:
        self.priorities.append(priority)
        return await super().run(speaker, priority, prepare)


async def test_decodes_are_urgent_until_two_of_them_agree_on_the_first_word(engine: FakeEngine) -> None:
    pool = RecordingPool()
    stream = EmbeddedStream(pool, engine.recogniser("en"))
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(stream.work())
        for n in range(1, 6):
            before = len(engine.decodes)
            await say(stream, words(1, first=n))
            if n >= 2:
                await engine.wait_until(lambda: len(engine.decodes) > before)  # noqa: B023  awaited in this round
        await stream.end()
        await until_end(stream)
        work.cancel()
    await pool.aclose()
    first, second, *later, final = pool.priorities
    assert first is second is Priority.FIRST_WORDS
    assert set(later) == {Priority.HYPOTHESIS}
    assert final is Priority.FINAL


async def test_a_slow_engine_decodes_the_newest_audio_once_and_not_every_frame(
    backend: EmbeddedBackend, engine: FakeEngine
) -> None:
    engine.hold.clear()
    async with backend.open_stream("en") as stream:
        await say(stream, words(4))
        await wait_until_decoding(engine)
        await say(stream, words(8, first=5))
        await stream.end()
        engine.hold.set()
        await until_end(stream)
    assert len(engine.decodes) == 2


async def test_long_speech_is_cut_at_a_pause_without_losing_or_doubling_a_word(backend: EmbeddedBackend) -> None:
    async with backend.open_stream("en") as stream:
        await say(stream, words(10), silence(0.2), words(20, first=11), silence(0.6))
        await stream.flush()
        await stream.end()
        events = await until_end(stream)
    assert finals(events)[0] == numbers(1, 10)
    assert " ".join(finals(events)) == numbers(1, 30)
    closed = [event for event in events if isinstance(event, Hypothesis) and event.final]
    for before, after in pairwise(closed):
        assert before.end_s == after.start_s


async def test_speech_without_any_pause_is_cut_between_words(backend: EmbeddedBackend) -> None:
    async with backend.open_stream("en") as stream:
        await say(stream, words(60), silence(0.6))
        await stream.flush()
        await stream.end()
        events = await until_end(stream)
    assert " ".join(finals(events)) == numbers(1, 60)
    lengths = [
        e.end_s - e.start_s for e in events if isinstance(e, Hypothesis) and e.final and e.end_s and e.start_s is not None
    ]
    assert len(lengths) > 1
    assert max(lengths) <= 14


async def test_silence_gives_no_text_but_answers_the_flush(backend: EmbeddedBackend, engine: FakeEngine) -> None:
    async with backend.open_stream("en") as stream:
        await say(stream, silence(3.0))
        await stream.flush()
        await stream.flush()
        await stream.end()
        assert await until_end(stream) == [Flushed(), Flushed()]
    assert all(text == "" for _, text in engine.decodes)


async def test_a_failed_decode_costs_one_utterance(
    backend: EmbeddedBackend, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.fail = lambda text: text == "1 2"
    async with backend.open_stream("en") as stream:
        await say(stream, words(2))
        await stream.flush()
        await say(stream, words(2, first=3))
        await stream.flush()
        await stream.end()
        events = await until_end(stream)
    assert finals(events) == ["3 4"]
    assert sum(isinstance(event, Flushed) for event in events) == 2
    assert "failed" in caplog.text


async def test_a_final_on_trial_is_used_if_nothing_followed_and_not_if_a_word_did() -> None:
    engine = FakeEngine()
    backend = EmbeddedBackend(engine, EmbeddedConfig(slots=1, hypothesis_interval_s=0.01))
    async with backend.open_stream("en") as stream:
        await say(stream, words(3), silence(0.3))
        await engine.wait_until(lambda: ("final", "1 2 3") in engine.decodes)
        await say(stream, silence(0.3))
        await stream.flush()
        await say(stream, words(3, first=4), silence(0.3))
        await engine.wait_until(lambda: ("final", "4 5 6") in engine.decodes)
        await say(stream, words(1, first=7))
        await stream.flush()
        await stream.end()
        events = await until_end(stream)
    await backend.aclose()
    assert finals(events) == ["1 2 3", "4 5 6 7"]
    assert engine.decodes.count(("final", "1 2 3")) == 1


async def test_a_final_on_trial_is_not_used_for_an_utterance_that_was_cut_meanwhile() -> None:
    engine = FakeEngine()
    backend = EmbeddedBackend(engine, EmbeddedConfig(slots=1, hypothesis_interval_s=0.01))
    async with backend.open_stream("en") as stream:
        engine.hold.clear()
        await say(stream, words(9), silence(0.5), words(4, first=10), silence(0.25))
        await wait_until_decoding(engine)
        await say(stream, words(5, first=14))
        engine.hold.set()
        await say(stream, silence(0.6))
        await stream.flush()
        await stream.end()
        events = await until_end(stream)
    await backend.aclose()
    assert " ".join(finals(events)) == numbers(1, 18)
    assert len(finals(events)) > 1


async def test_no_more_decodes_at_once_than_slots(backend: EmbeddedBackend, engine: FakeEngine) -> None:
    async def speak() -> list[str]:
        async with backend.open_stream("en") as stream:
            await say(stream, words(6))
            await asyncio.sleep(0.01)
            await say(stream, words(6, first=7))
            await stream.end()
            return finals(await until_end(stream))

    assert await asyncio.gather(*(speak() for _ in range(6))) == [[numbers(1, 12)]] * 6
    assert engine.most_running <= 2


async def test_a_speaker_far_ahead_of_the_engine_has_to_wait(backend: EmbeddedBackend, engine: FakeEngine) -> None:
    engine.hold.clear()
    async with backend.open_stream("en") as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await say(stream, words(600))
        engine.hold.set()
        async with asyncio.timeout(10):
            await say(stream, words(10))


async def test_leaving_a_stream_in_the_middle_of_a_decode_harms_no_other(backend: EmbeddedBackend, engine: FakeEngine) -> None:
    engine.hold.clear()
    async with backend.open_stream("en") as first:
        await say(first, words(6))
        await wait_until_decoding(engine)
    async with backend.open_stream("en") as second:
        await say(second, words(3))
        await second.end()
        engine.hold.set()
        assert finals(await until_end(second)) == ["1 2 3"]


async def test_the_model_is_loaded_once_for_all_and_unloaded_at_the_end(engine: FakeEngine) -> None:
    backend = EmbeddedBackend(engine, EmbeddedConfig())

    async def speak() -> None:
        async with backend.open_stream("en"):
            pass

    await asyncio.gather(backend.warm(), *(speak() for _ in range(5)))
    assert engine.loads == 1
    await backend.aclose()
    assert not engine.loaded


async def test_engines_that_are_replaced_while_they_are_warmed_are_not_loaded_again(
    monkeypatch: pytest.MonkeyPatch, engine: FakeEngine
) -> None:
    """The settings change while a call waits for a remote engine, after which the embedded one would be loaded."""
    old, new = SttRegistry(SttConfig()), SttRegistry(SttConfig())
    monkeypatch.setattr(old.engine("embedded"), "_engine", engine)
    backend, refused = old.backend(), asyncio.Event()
    warm = backend.warm

    async def remote_first() -> None:
        await refused.wait()
        await warm()

    monkeypatch.setattr(backend, "warm", remote_first)
    current = CurrentBackend(old)
    warming = asyncio.create_task(current.warm())
    await asyncio.sleep(0)
    retiring = asyncio.create_task(current.retire(current.replace(new, prewarm=True)))
    await asyncio.sleep(0.01)
    refused.set()
    await asyncio.gather(warming, retiring)
    assert engine.loads == 1
    assert not engine.loaded
    await current.aclose()


async def test_a_model_that_does_not_load_is_a_typed_error_and_may_be_put_right(engine: FakeEngine) -> None:
    backend = EmbeddedBackend(engine, EmbeddedConfig())
    engine.load_error = SttModelError("Damaged.", fix="Install it again.")
    with pytest.raises(SttModelError, match="Install it again"):
        await backend.warm()
    engine.load_error = None
    await backend.warm()
    await backend.aclose()


async def test_a_language_the_engine_lacks_is_refused(backend: EmbeddedBackend) -> None:
    with pytest.raises(SttModelError, match="'tlh'"):
        async with backend.open_stream("tlh"):
            pass


async def test_what_was_said_is_not_in_the_log(
    backend: EmbeddedBackend, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    engine.fail = lambda _: True
    async with backend.open_stream("en") as stream:
        await say(stream, words(7))
        await stream.end()
        await until_end(stream)
    assert "1 2 3" not in caplog.text

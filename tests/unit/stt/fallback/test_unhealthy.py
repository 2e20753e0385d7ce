# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Engines that accept audio but are unhealthy, as a speaker and an administrator notice them, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from random import Random

import pytest

from live_transcription.errors import SttAtCapacity, SttError, SttStalled, SttUnavailable, SttWrongModel
from live_transcription.observability import metrics
from live_transcription.status import EngineState
from live_transcription.stt.fallback.backend import FallbackBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.stt.resilient.retry import ResiliencePolicy
from live_transcription.transcript import Token
from live_transcription.types import Frame
from sandbox.virtual_clock import run
from tests.fakes.stt_counts import SttCounts
from tests.unit.stt.kyutai.kyutai_model import FRAME_S, Captions, KyutaiModel, silence, speech

FOREVER = (0.0, float("inf"))


class Embedded(KyutaiModel):
    name = "whisper"
    languages = frozenset({"en", "fr", "de"})
    remote = False

    def __init__(self) -> None:
        super().__init__(whole=True, acknowledges=False, opening_s=lambda now: 0.5, latency_s=0.6)


class Setting:
    """Engines below the resilient backend, as in the product."""

    def __init__(self, *engines: KyutaiModel, ring_s: float = 60) -> None:
        self.fallback = FallbackBackend(engines, random=Random(1))
        self.backend = ResilientBackend(self.fallback, policy=ResiliencePolicy(ring_s=ring_s), random=Random(1))
        self.counts = SttCounts()
        self.states: list[tuple[str, str]] = []

    @property
    def best(self) -> EngineState:
        return self.fallback.health[0]

    async def play(self, *parts: Sequence[Frame] | float | None, voice: bool = True) -> Captions:
        """A speaker behind the silence gate, in real time. None is the end of a speech, a number is seconds of silence.

        `voice`: what the detector finds.
        """
        captions = Captions()
        loop = asyncio.get_running_loop()
        async with self.backend.open_stream("en") as stream, asyncio.TaskGroup() as tasks:

            async def read() -> None:
                async for event in stream.events():
                    captions.feed(event, loop.time())

            tasks.create_task(read())
            for part in parts:
                if part is None:
                    await stream.flush()
                    stream.mark_speech(False)
                    continue
                if isinstance(part, float):
                    await asyncio.sleep(part)
                    continue
                for frame in part:
                    await asyncio.sleep(FRAME_S)
                    stream.mark_speech(voice)
                    await stream.send(frame)
                    state = self.best
                    if not self.states or self.states[-1] != (state.state, state.code):
                        self.states.append((state.state, state.code))
            await stream.end()
        return captions

    def failures(self, engine: str, code: str) -> float:
        labels = {"engine": engine, "code": code}
        return metrics.registry.get_sample_value("live_transcription_stt_engine_failures_total", labels) or 0.0


def sentences(count: int, words: int = 10) -> list[Sequence[Frame] | None]:
    """Sentences, each followed by a pause of a second."""
    parts: list[Sequence[Frame] | None] = []
    for sentence in range(count):
        parts += [speech(sentence * words, words), silence(0.6), None, silence(0.4)]
    return parts


def hum(seconds: float) -> list[Sequence[Frame] | None]:
    """Sound that the voice detector takes for speech, in breaths of four seconds."""
    parts: list[Sequence[Frame] | None] = []
    for _ in range(round(seconds / 4)):
        parts += [silence(4.0), None]
    return parts


def longest_wait_s(captions: Captions, words_per_sentence: int = 10) -> float:
    """Seconds of speech for which a reader waited for new words, if sentences are said in real time without delay."""
    sentence_s = words_per_sentence * 0.4

    def spoken_s(at: float) -> float:
        """Seconds of speech until then."""
        whole, rest = divmod(at, sentence_s + 1.04)
        return whole * sentence_s + min(rest, sentence_s)

    times = [0.0, *sorted(captions.shown_at.values())]
    return max(spoken_s(after) - spoken_s(before) for before, after in itertools.pairwise(times))


@pytest.mark.parametrize("words", [10, 4, 100], ids=["sentences", "short sentences", "monologue"])
@pytest.mark.parametrize("acknowledges", [True, False], ids=["steps", "quiet"])
def test_a_deaf_engine_costs_at_most_18_s_and_no_word(words: int, acknowledges: bool) -> None:
    async def scenario() -> None:
        deaf, embedded = KyutaiModel(mute=FOREVER, acknowledges=acknowledges), Embedded()
        setting = Setting(deaf, embedded)
        before = setting.failures("kyutai", "stt_deaf")
        captions = await setting.play(*sentences(200 // words, words))
        assert captions.words == list(range(len(captions.words)))
        assert len(captions.words) == 200 // words * words
        assert longest_wait_s(captions, words) <= 18.0
        assert len([at for at in deaf.attempts if at < 60]) == 2
        assert setting.failures("kyutai", "stt_deaf") - before >= 2
        assert ("down", "stt_deaf") in setting.states
        assert setting.counts.dropped_s == 0

    run(scenario())


def test_an_engine_that_goes_deaf_in_mid_speech_costs_at_most_18_s_and_no_word() -> None:
    async def scenario() -> None:
        setting = Setting(KyutaiModel(mute=(21.0, float("inf"))), Embedded())
        captions = await setting.play(*sentences(20))
        assert captions.words == list(range(200))
        assert longest_wait_s(captions) <= 18.0
        state = setting.best
        assert (state.state, state.code) == ("down", "stt_deaf")
        assert "no words" in state.problem
        assert "Restart" in state.fix

    run(scenario())


def test_speech_that_a_deaf_engine_missed_is_transcribed_although_nobody_speaks_any_more() -> None:
    async def scenario() -> None:
        setting = Setting(KyutaiModel(mute=FOREVER), Embedded())
        # 10.1 s of speech: it is noticed when the last flush is answered.
        first, last = speech(0, 13), speech(13, 12)
        captions = await setting.play(first, silence(0.6), None, last, silence(0.6), None, 60.0)
        assert captions.closed == list(range(25))
        assert max(captions.shown_at.values()) < 13 + 10

    run(scenario())


def test_a_session_that_goes_deaf_is_replaced_and_the_engine_is_kept() -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(mute=(8.0, 18.7)), Embedded()
        setting = Setting(kyutai, embedded)
        captions = await setting.play(*sentences(20))
        assert captions.words == list(range(200))
        assert len(kyutai.attempts) == 2
        assert not embedded.attempts
        assert setting.states[-1] == ("up", "")

    run(scenario())


def test_a_hung_engine_costs_at_most_18_s_and_no_word() -> None:
    """Its connections break 6 s later by the rule of the protocol, and handshakes hang."""

    async def scenario() -> None:
        hung = KyutaiModel(
            mute=(20.0, float("inf")),
            break_at=(27.0,),
            break_error=lambda: SttStalled("hangs"),
            opening_s=lambda now: 1000.0 if now > 20 else 0.3,
        )
        setting = Setting(hung, Embedded())
        captions = await setting.play(*sentences(20))
        assert captions.words == list(range(200))
        assert longest_wait_s(captions) <= 18.0

    run(scenario())


def test_a_slow_engine_is_replaced_and_no_word_is_lost() -> None:
    async def scenario() -> None:
        slow, embedded = KyutaiModel(rate=0.6), Embedded()
        setting = Setting(slow, embedded)
        captions = await setting.play(*sentences(40, 40))
        assert captions.words == list(range(1600))
        assert ("down", "stt_slow") in setting.states
        spoken_s = 0.4 * 39 + 16 + 15  # a minute is enough, although each pause lets it catch up a little
        late = max(captions.shown_at[word] - word * 0.4 * 17 / 16 for word in range(200, 400))
        assert embedded.opened[0] < 100
        assert late < spoken_s

    run(scenario())


def test_a_slow_engine_without_an_alternative_is_named_and_not_thrashed() -> None:
    async def scenario() -> None:
        slow = KyutaiModel(rate=0.8)
        setting = Setting(slow)
        captions = await setting.play(*sentences(10, 80))
        assert captions.words == list(range(800))
        assert ("down", "stt_slow") in setting.states
        assert len(slow.attempts) <= 4

    run(scenario())


def test_an_engine_that_repeats_a_word_is_replaced() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        ill = KyutaiModel(spell=lambda word: Token("w0" if loop.time() > 8 else f"w{word}", True))
        embedded = Embedded()
        setting = Setting(ill, embedded)
        captions = await setting.play(*sentences(20))
        # What was committed stays, and each minute five seconds show whether it still does.
        assert captions.words.count(0) < 1 + 2 * 30
        assert set(captions.words) >= set(range(45, 165))
        assert embedded.opened[0] < 8 + 10 + 15
        assert ("down", "stt_repeating") in setting.states

    run(scenario())


def test_a_wrong_model_is_refused_until_the_server_runs_another_one() -> None:
    def wrong() -> SttWrongModel:
        return SttWrongModel("none", fix="Run stt-1b-en_fr.")

    class Replaced(KyutaiModel):
        """Runs the wrong model for 90 s: the probe sees it, or the first word."""

        async def warm(self) -> None:
            now = asyncio.get_running_loop().time()
            self.warmed.append(now)
            if now < 90:
                raise wrong()

    async def scenario() -> None:
        kyutai, embedded = Replaced(break_at=(2.9,), mute=(0.0, 90.0), break_error=wrong), Embedded()
        setting = Setting(kyutai, embedded)
        captions = await setting.play(*sentences(5))
        assert captions.words == list(range(50))
        state = setting.best
        assert (state.state, state.code, state.fix) == ("refused", "stt_wrong_model", "Run stt-1b-en_fr.")
        assert len(kyutai.attempts) == 1
        captions = await setting.play(*sentences(40))
        assert captions.words == list(range(400))
        assert all(after - before >= 60 for before, after in itertools.pairwise(kyutai.warmed))
        assert len(kyutai.attempts) == 2
        assert setting.best.state == "up"

    run(scenario())


def test_a_deaf_engine_is_tried_once_a_minute_by_one_of_many_speakers() -> None:
    async def scenario() -> None:
        deaf, embedded = KyutaiModel(mute=FOREVER), Embedded()
        setting = Setting(deaf, embedded)
        async with asyncio.TaskGroup() as tasks:
            everyone = [tasks.create_task(setting.play(*sentences(80))) for _ in range(5)]
        assert all(each.result().words == list(range(800)) for each in everyone)
        # At first, each speaker has two connections to it.
        later = sorted(at for at in deaf.attempts if at > 30)
        assert len(deaf.attempts) - len(later) <= 10
        # A trial is a connection, and another one if that hears nothing.
        trials = [at for before, at in zip([0.0, *later], later, strict=False) if at - before > 20]
        assert len(later) <= 2 * len(trials)
        assert all(after - before >= 60 for before, after in itertools.pairwise(trials))
        assert 3 <= len(trials) <= 6

    run(scenario())


def test_a_deaf_engine_that_has_recovered_serves_everyone_again() -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(mute=(0.0, 40.0)), Embedded()
        setting = Setting(kyutai, embedded)
        async with asyncio.TaskGroup() as tasks:
            everyone = [tasks.create_task(setting.play(*sentences(40))) for _ in range(3)]
        assert all(each.result().words == list(range(400)) for each in everyone)
        assert kyutai.open == embedded.open == 0
        assert setting.states[-1] == ("up", "")
        assert sum(at > 40 for at in kyutai.opened) == 3

    run(scenario())


def test_a_hum_is_not_held_against_an_engine() -> None:
    """One new connection, then the next engine. When that finds no word either, the first one is up again."""

    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(), Embedded()
        setting = Setting(kyutai, embedded)
        captions = await setting.play(*hum(300), *sentences(10))
        assert captions.words == list(range(100))
        assert ("down", "stt_deaf") in setting.states
        assert setting.states[-1] == ("up", "")
        down = setting.states.index(("down", "stt_deaf"))
        assert ("up", "") in setting.states[down:]
        # Each further minute of humming costs at most another connection.
        assert len(kyutai.attempts) + len(embedded.attempts) <= 12

    run(scenario())


def test_a_hum_does_not_disturb_another_speaker() -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(), Embedded()
        setting = Setting(kyutai, embedded)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(setting.play(*hum(120)))
            speaker = tasks.create_task(setting.play(*sentences(24)))
        assert speaker.result().words == list(range(240))
        assert speaker.result().restarts == 0
        assert setting.best.state == "up"

    run(scenario())


def test_sound_that_is_no_speech_for_the_detector_changes_nothing() -> None:
    async def scenario() -> None:
        kyutai, embedded = KyutaiModel(), Embedded()
        setting = Setting(kyutai, embedded)
        await setting.play(*hum(300), voice=False)
        assert len(kyutai.attempts) == 1
        assert not embedded.attempts

    run(scenario())


def test_a_deaf_engine_without_an_alternative_is_named_and_tried_again_without_haste() -> None:
    async def scenario() -> None:
        kyutai = KyutaiModel(mute=(0.0, 200.0))
        setting = Setting(kyutai)
        captions = await setting.play(*sentences(100))
        assert ("down", "stt_deaf") in setting.states
        assert setting.states[-1] == ("up", "")
        assert sum(at < 200 for at in kyutai.attempts) <= 12
        waits = [after - before for before, after in itertools.pairwise(kyutai.attempts)]
        assert min(waits) > 1
        # Everything from shortly before the recovery on is transcribed.
        assert captions.words == list(range(captions.words[0], 1000))
        assert captions.words[0] * 0.5 < 200

    run(scenario())


def test_short_speeches_in_streams_that_end_in_between_show_a_deaf_engine_too() -> None:
    async def scenario() -> None:
        deaf, embedded = KyutaiModel(mute=FOREVER), Embedded()
        setting = Setting(deaf, embedded)
        for _ in range(6):
            last = await setting.play(*sentences(1, 15))
        assert setting.states[-1] == ("down", "stt_deaf")
        assert last.words == list(range(15))

    run(scenario())


def test_an_embedded_engine_alone_is_never_deaf() -> None:
    async def scenario() -> None:
        embedded = Embedded()
        setting = Setting(embedded)
        captions = await setting.play(*hum(60), *sentences(2))
        assert captions.words == list(range(20))
        assert len(embedded.attempts) == 1

    run(scenario())


def test_a_full_engine_is_not_up_because_others_are_still_transcribed() -> None:
    async def scenario() -> None:
        full = KyutaiModel(failure=lambda now: SttAtCapacity("full") if now > 5 else None)
        embedded = Embedded()
        setting = Setting(full, embedded)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(setting.play(*sentences(30)))
            await asyncio.sleep(8)
            tasks.create_task(setting.play(*sentences(25)))
        assert setting.states[-1] == ("full", "stt_at_capacity")
        assert len(embedded.attempts) == 1
        assert len(full.attempts) == 2

    run(scenario())


@pytest.mark.parametrize("error", [SttUnavailable("down")])
def test_an_engine_that_goes_up_and_down_is_not_used_in_turn(error: SttError) -> None:
    """It answers each probe, and breaks soon after."""

    async def scenario() -> None:
        flapping = KyutaiModel(failure=lambda now: error if now % 20 > 9 else None, break_at=tuple(range(9, 600, 20)))
        embedded = Embedded()
        setting = Setting(flapping, embedded)
        captions = await setting.play(*sentences(100))
        assert captions.words == list(range(1000))
        assert setting.counts.switches["kyutai"] <= 500 / 60 + 1

    run(scenario())


def test_a_hum_without_an_alternative_costs_at_most_one_connection_per_minute() -> None:
    async def scenario() -> None:
        kyutai = KyutaiModel()
        await Setting(kyutai).play(*hum(600))
        waits = [after - before for before, after in itertools.pairwise(kyutai.attempts)]
        assert min(waits[2:]) >= 60

    run(scenario())


def test_a_deaf_engine_that_sends_punctuation_is_not_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(Captions, "feed", lambda *_: None)  # they read numbered words only
        setting = Setting(KyutaiModel(spell=lambda word: Token(".", True)), Embedded())
        await setting.play(*sentences(60))
        first = setting.states.index(("down", "stt_deaf"))
        assert ("up", "") not in setting.states[first:]

    run(scenario())

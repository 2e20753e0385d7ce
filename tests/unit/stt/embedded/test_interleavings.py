# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Decodes of any duration, while the speaker continues, pauses, changes the language, or leaves: each word is shown once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TypeAlias

import numpy as np
import soxr
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from live_transcription.captions.assembler import CaptionAssembler
from live_transcription.config import EmbeddedConfig
from live_transcription.stt.base import Flushed, Hypothesis, SttEvent
from live_transcription.stt.embedded.backend import EmbeddedBackend
from live_transcription.stt.embedded.recogniser import RATE
from live_transcription.stt.embedded.stream import EmbeddedStream
from live_transcription.types import SAMPLE_RATE, Frame
from sandbox import virtual_clock
from sandbox.monologue import Monologue
from sandbox.virtual_pool import VirtualPool
from tests.unit.stt.fake_engine import FakeEngine, frames, silence, spell, words

#: Without shrinking: an example takes up to seconds.
QUICK = settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))

#: What a speaker does: say so many words, stay silent for so many seconds, or be cut off by voice activity detection.
Act: TypeAlias = int | float | None

acts: st.SearchStrategy[list[Act]] = st.lists(
    st.one_of(st.integers(1, 14), st.sampled_from([0.08, 0.16, 0.24, 0.32, 0.4, 0.56, 0.72, 1.2]), st.none()),
    min_size=1,
    max_size=14,
)
durations = st.lists(st.sampled_from([0.01, 0.1, 0.2, 0.3, 0.5, 0.9, 1.6, 3.0]), min_size=1, max_size=6)
#: A long utterance is cut while the trial of its longer audio is being decoded.
CUT_DURING_TRIAL: list[Act] = [9, 0.4, 4, 0.32, 6, 0.72, None]
#: The speaker pauses, and speaks again while the trial waits for the slot, which another speaker uses.
SPEAKS_AGAIN: list[Act] = [14, 0.08, 0.16, 3]


def pcm(plan: Sequence[Act]) -> list[Frame | None]:
    """The audio of a plan; None: a flush."""
    parts: list[Frame | None] = []
    first = 1
    for act in plan:
        if isinstance(act, int):
            parts.append(words(act, first))
            first += act
        else:
            parts.append(None if act is None else silence(act))
    return parts


def virtual_pool(engine: FakeEngine, slots: int, partials: Sequence[float], finals: Sequence[float]) -> VirtualPool:
    """`partials`, `finals`: seconds that decodes take, in turn."""
    costs = {"partial": cycle(partials), "final": cycle(finals)}
    return VirtualPool(slots, 0.5, lambda _: next(costs[engine.decodes[-1][0]]))


async def follow(
    plans: Sequence[Sequence[Act]],
    partials: Sequence[float],
    finals: Sequence[float],
    fails: Callable[[str], bool] = lambda _: False,
) -> list[list[SttEvent]]:
    """The events of speakers who follow their plans in real time. They share one slot."""
    engine = FakeEngine()
    engine.fail = fails
    pool = virtual_pool(engine, 1, partials, finals)

    async def speak(plan: Sequence[Act], events: list[SttEvent]) -> None:
        stream = EmbeddedStream(pool, engine.recogniser("en"))

        async def read() -> None:
            events.extend([event async for event in stream.events()])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stream.work())
            tasks.create_task(read())
            for part in pcm(plan):
                if part is None:
                    await stream.flush()
                    continue
                for frame in frames(part):
                    await asyncio.sleep(len(frame) / SAMPLE_RATE)
                    await stream.send(frame)
            await stream.end()

    heard: list[list[SttEvent]] = [[] for _ in plans]
    async with asyncio.TaskGroup() as tasks:
        for plan, events in zip(plans, heard, strict=True):
            tasks.create_task(speak(plan, events))
    await pool.aclose()
    return heard


def shown(events: Sequence[SttEvent]) -> list[str]:
    """The words that the events commit, in order."""
    assembler = CaptionAssembler()
    committed = [word for event in events for word in assembler.feed(event, 0.0)] + assembler.finalise(0.0)
    return " ".join(each.text for each in committed).split()


def said(plan: Sequence[Act]) -> list[str]:
    return [str(n) for n in range(1, sum(act for act in plan if isinstance(act, int)) + 1)]


@QUICK
@given(plans=st.lists(acts, min_size=1, max_size=3), partials=durations, finals=durations)
@example(plans=[CUT_DURING_TRIAL], partials=[0.01], finals=[0.01, 2.0])
@example(plans=[[11], SPEAKS_AGAIN], partials=[1.6], finals=[0.01])
def test_each_final_has_the_words_of_its_own_audio_and_each_word_is_shown_once(
    plans: list[list[Act]], partials: list[float], finals: list[float]
) -> None:
    heard = virtual_clock.run(follow(plans, partials, finals), loopback_s=0.0)
    for plan, events in zip(plans, heard, strict=True):
        audio = [part for part in pcm(plan) if part is not None]
        whole = soxr.resample(np.concatenate(audio), SAMPLE_RATE, RATE).astype(np.float32) if audio else np.zeros(0, np.float32)
        for event in events:
            if isinstance(event, Hypothesis) and event.final:
                assert event.start_s is not None
                assert event.end_s is not None
                assert event.text == spell(whole[round(event.start_s * RATE) : round(event.end_s * RATE)])
        assert shown(events) == said(plan)
        assert sum(isinstance(event, Flushed) for event in events) == plan.count(None)


@QUICK
@given(plan=acts, partials=durations, finals=durations, failing=st.integers(0, 3), every=st.integers(1, 4))
@example(plan=[26], partials=[0.01], finals=[0.01], failing=0, every=1)
def test_a_failing_final_shows_no_word_twice_nor_out_of_order(
    plan: list[Act], partials: list[float], finals: list[float], failing: int, every: int
) -> None:
    count = 0

    def fails(_: str) -> bool:
        nonlocal count
        count += 1
        return count % every == failing % every

    [events] = virtual_clock.run(follow([plan], partials, finals, fails), loopback_s=0.0)
    numbers = [int(word) for word in shown(events)]
    assert numbers == sorted(set(numbers))


def test_a_final_does_not_wait_behind_hypotheses_of_others_for_one_of_its_own() -> None:
    """All decodes take a second. The flush finds one decode running, one of each other speaker waiting, and its own behind."""

    async def speak() -> float:
        engine = FakeEngine()
        pool = virtual_pool(engine, 1, [1.0], [1.0])
        loop = asyncio.get_running_loop()
        streams = [EmbeddedStream(pool, engine.recogniser("en")) for _ in range(6)]
        last = streams[-1]
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(stream.work()) for stream in streams]
            for stream in streams:
                for frame in frames(words(4)):
                    await stream.send(frame)
                await asyncio.sleep(0)
            await last.flush()
            flushed_at = loop.time()
            async for event in last.events():
                if isinstance(event, Flushed):
                    break
            for task in working:
                task.cancel()
        await pool.aclose()
        return loop.time() - flushed_at

    assert virtual_clock.run(speak(), loopback_s=0.0) <= 2.0


class LoudIsSpeech:
    def probability(self, frame: Frame) -> float:
        return float(np.abs(frame).max() > 0.1)

    def reset(self) -> None:
        return


@QUICK
@given(
    plan=acts,
    partials=durations,
    finals=durations,
    slots=st.integers(1, 2),
    languages=st.lists(st.integers(0, 13), max_size=3),
    leaves_after=st.none() | st.floats(0.1, 8.0),
)
def test_a_speaker_who_pauses_changes_the_language_and_leaves_is_shown_no_word_twice(
    plan: list[Act],
    partials: list[float],
    finals: list[float],
    slots: int,
    languages: list[int],
    leaves_after: float | None,
) -> None:
    async def speak() -> list[str]:
        engine = FakeEngine()
        backend = EmbeddedBackend(engine, EmbeddedConfig(slots=slots))
        backend._pool = virtual_pool(engine, slots, partials, finals)
        monologue = Monologue(backend, detector=LoudIsSpeech())
        async with monologue:
            for number, part in enumerate(pcm(plan)):
                await monologue.say(silence(0.72) if part is None else part)
                if number in languages:
                    monologue.transcriber.language = "fr" if monologue.transcriber.language == "en" else "en"
            if leaves_after is None:
                await monologue.hush(30.0)  # the stream is closed meanwhile
            else:
                await asyncio.sleep(leaves_after)
        await backend.aclose()
        return monologue.text.split()

    captions = [int(word) for word in virtual_clock.run(speak(), loopback_s=0.0)]
    # A change of language in mid-word leaves a piece of it on either side.
    whole = captions if not languages else sorted(set(captions))
    assert captions == sorted(captions)
    assert whole == sorted(set(captions))
    if not languages and leaves_after is None:
        assert [str(number) for number in captions] == said(plan)

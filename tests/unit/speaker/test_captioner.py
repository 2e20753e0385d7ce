# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Captions and utterances of one speaker: their texts, ids and times of day."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from live_transcription.captions.masking import Masks
from live_transcription.languages import AUTO
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.stream_clock import StreamClock
from live_transcription.transcript import Flushed, Gap, GapReason, Hypothesis, Pause, Restarted, SttEvent, Token, Utterance
from live_transcription.types import SAMPLE_RATE, Caption
from sandbox import virtual_clock

#: Unix time at the event loop's time 0.
DAY_S = 1_700_000_000.0


class Speaker:
    def __init__(self) -> None:
        self.captions: list[Caption] = []
        self.utterances: list[Utterance] = []
        self.gaps: list[Gap] = []
        self.loop = asyncio.get_running_loop()
        self.captioner = Captioner(
            "speaker-1",
            "en",
            self.captions.append,
            self.utterances.append,
            on_gap=self.gaps.append,
            wall_clock=lambda: DAY_S + self.loop.time(),
        )

    def send(self, seconds: float, *, spoken_until: float) -> None:
        self.captioner.audio_sent(round(seconds * SAMPLE_RATE), spoken_until)

    def feed(self, *events: SttEvent) -> None:
        for event in events:
            self.captioner.feed(event)

    @property
    def times(self) -> list[tuple[float, float]]:
        """Start and end of each utterance, in seconds of the event loop's clock."""
        return [(each.started_at - DAY_S, each.ended_at - DAY_S) for each in self.utterances]


def played(scenario: Callable[[Speaker], Awaitable[None]]) -> Speaker:
    async def run() -> Speaker:
        speaker = Speaker()
        await scenario(speaker)
        speaker.captioner.close()
        return speaker

    return virtual_clock.run(run(), loopback_s=0)


def near(*times: tuple[float, float]) -> list[tuple[float, float]]:
    return [pytest.approx(pair, abs=0.001) for pair in times]


def test_an_utterance_has_the_times_at_which_its_words_were_spoken_although_silence_was_not_sent() -> None:
    async def scenario(speaker: Speaker) -> None:
        speaker.send(2.0, spoken_until=12.0)
        speaker.send(3.0, spoken_until=43.0)  # after 28 s of silence
        speaker.feed(Token("one", True, 0.5, 0.8), Token("two", True, 1.0, 1.5), Flushed())
        speaker.feed(Token("three", True, 2.5, 3.0), Token("four", True, 3.5, 4.0), Flushed())

    speaker = played(scenario)
    assert [utterance.text for utterance in speaker.utterances] == ["one two", "three four"]
    assert speaker.times == near((10.5, 11.5), (40.5, 42.0))


def test_speech_that_was_sent_late_keeps_its_time() -> None:
    """During a cold start, audio waits a minute for its stream."""

    async def scenario(speaker: Speaker) -> None:
        await asyncio.sleep(60)
        speaker.send(1.0, spoken_until=5.0)
        speaker.feed(Hypothesis("late words", final=False, start_s=0.0, end_s=0.9))
        await asyncio.sleep(3)
        speaker.feed(Hypothesis("late words.", final=True, start_s=0.0, end_s=1.0))

    assert played(scenario).times == near((4.0, 5.0))


def test_each_stream_has_a_time_of_its_own() -> None:
    async def scenario(speaker: Speaker) -> None:
        for language, spoken_until in (("en", 3.0), ("fr", 9.0)):
            speaker.captioner.begin_stream(language)
            speaker.send(2.0, spoken_until=spoken_until)
            speaker.feed(Token("word", True, 1.0, 1.5), Pause())

    speaker = played(scenario)
    assert speaker.times == near((2.0, 2.5), (8.0, 8.5))
    assert [utterance.language for utterance in speaker.utterances] == ["en", "fr"]


@pytest.mark.parametrize("stream_s", [2.5, 1e308])
def test_a_word_is_never_later_than_the_audio_that_was_sent(stream_s: float) -> None:
    async def scenario(speaker: Speaker) -> None:
        speaker.send(2.0, spoken_until=12.0)
        speaker.feed(Token("one", True, 0.5), Token("two", True, stream_s), Flushed())

    speaker = played(scenario)
    assert speaker.times == near((10.5, 12.0))
    assert [utterance.text for utterance in speaker.utterances] == ["one two"]


def test_words_without_times_count_as_spoken_when_they_arrive() -> None:
    async def scenario(speaker: Speaker) -> None:
        for word in ("one", "two"):
            await asyncio.sleep(1)
            speaker.feed(Token(word, True))
        speaker.feed(Pause())

    assert played(scenario).times == near((1.0, 2.0))


def test_ids_are_unique_and_a_finished_utterance_is_final() -> None:
    async def scenario(speaker: Speaker) -> None:
        for word in ("one", "two", "three"):
            speaker.feed(Token(word, True), Pause())

    first, second = played(scenario), played(scenario)
    ids = [utterance.id for speaker in (first, second) for utterance in speaker.utterances]
    assert len(set(ids)) == 6
    assert all(utterance.final for utterance in first.utterances)


def test_an_utterance_whose_stream_failed_is_not_final() -> None:
    async def scenario(speaker: Speaker) -> None:
        speaker.feed(Token("half", True), Token("a", True))
        speaker.captioner.finalise(cut_short=True)

    (utterance,) = played(scenario).utterances
    assert (utterance.text, utterance.final) == ("half a", False)


def test_the_final_text_may_differ_from_the_captions() -> None:
    async def scenario(speaker: Speaker) -> None:
        for final in (False, False, True):
            speaker.feed(Hypothesis("I red a book" if not final else "I read a book", final=final))

    speaker = played(scenario)
    assert " ".join(caption.text for caption in speaker.captions) == "I red a book"
    assert [utterance.text for utterance in speaker.utterances] == ["I read a book"]


def test_words_that_a_new_connection_repeats_do_not_change_the_times() -> None:
    async def scenario(speaker: Speaker) -> None:
        speaker.send(4.0, spoken_until=4.0)
        speaker.feed(Token("one", True, 0.5), Token("two", True, 1.0), Restarted())
        speaker.feed(Token("one", True, 0.5), Token("two", True, 1.0), Token("three", True, 1.5), Flushed())

    speaker = played(scenario)
    assert [utterance.text for utterance in speaker.utterances] == ["one two three"]
    assert speaker.times == near((0.5, 1.5))


@pytest.mark.parametrize("engine", ["words", "hypotheses"])
def test_words_of_an_utterance_that_has_ended_are_not_repeated_in_the_next_one(engine: str) -> None:
    """The utterance ended by its own pause; then another engine takes over and repeats it."""

    async def scenario(speaker: Speaker) -> None:
        speaker.send(4.0, spoken_until=4.0)
        speaker.feed(Token("one", True, 0.5), Token("two", True, 1.0))
        await asyncio.sleep(5)
        speaker.feed(Restarted())
        if engine == "words":
            speaker.feed(Token("one", True, 0.5), Token("two", True, 1.0), Token("three", True, 3.5), Flushed())
        else:
            speaker.feed(Hypothesis("One two three.", final=False), Hypothesis("One two three.", final=True))

    utterances = [utterance.text.lower().rstrip(".") for utterance in played(scenario).utterances]
    assert utterances == ["one two", "three"]


def test_audio_since_the_last_word_of_a_failed_stream_is_a_gap() -> None:
    async def scenario(speaker: Speaker) -> None:
        speaker.send(3.0, spoken_until=13.0)
        speaker.feed(Token("one", True, 0.5, 0.8))
        await asyncio.sleep(1)
        speaker.send(2.0, spoken_until=15.0)
        speaker.send(2.0, spoken_until=17.0)
        speaker.captioner.stream_failed()

    speaker = played(scenario)
    assert [(utterance.text, utterance.final) for utterance in speaker.utterances] == [("one", False)]
    assert [(gap.reason, gap.speaker) for gap in speaker.gaps] == [(GapReason.NO_ENGINE, "speaker-1")]
    assert [(gap.started_at - DAY_S, gap.ended_at - DAY_S) for gap in speaker.gaps] == near((13.0, 17.0))


def test_a_stream_that_fails_after_all_was_transcribed_leaves_no_gap() -> None:
    async def scenario(speaker: Speaker) -> None:
        speaker.send(3.0, spoken_until=13.0)
        speaker.feed(Hypothesis("", final=True), Flushed())
        speaker.captioner.stream_failed()
        speaker.captioner.begin_stream("en")
        speaker.send(0.5, spoken_until=14.0)
        speaker.captioner.stream_failed()

    assert played(scenario).gaps == []


def test_the_jitter_of_frames_does_not_change_the_time_of_a_stream() -> None:
    clock = StreamClock()
    for number in range(1, 1001):
        clock.add(1920, number * 0.08 + (0.05 if number % 2 else 0.0))
    times = [clock.time(second) for second in range(10, 80, 10)]
    assert [after - before for before, after in itertools.pairwise(times)] == pytest.approx([10.0] * 6, abs=0.001)


def test_masked_words_leave_neither_in_captions_nor_in_utterances() -> None:
    async def run() -> None:
        captions: list[str] = []
        utterances: list[Utterance] = []
        masks = Masks([("en", "out of order"), ("", "darn")])
        captioner = Captioner(
            "speaker-1", "en", lambda caption: captions.append(caption.text), utterances.append, masks=lambda: masks
        )
        for word in ("You", "are", "out", "of", "order,", "darn", "it", "out", "of"):
            captioner.feed(Token(word, starts_word=True))
        await asyncio.sleep(1.5)  # virtual
        captioner.feed(Token("order.", starts_word=True))
        captioner.finalise()
        captioner.close()
        assert " ".join(captions) == "You are *** ** *****, **** it out of *****."
        assert [each.text for each in utterances] == ["You are *** ** *****, **** it *** ** *****."]

    virtual_clock.run(run(), limit_s=60.0)


def test_captions_and_utterances_of_an_automatic_language_have_the_language_of_their_words() -> None:
    async def scenario(speaker: Speaker) -> None:
        speaker.captioner.begin_stream(AUTO)
        speaker.feed(*(Token(word, True) for word in "I think that this is right".split()), Flushed())  # noqa: SIM905
        speaker.feed(*(Token(word, True) for word in "mais je ne sais pas".split()), Flushed())  # noqa: SIM905
        # Whisper takes over, and is believed.
        speaker.feed(Hypothesis("Das ist gut.", True, language="de"))
        speaker.captioner.finalise()

    speaker = played(scenario)
    assert [each.language for each in speaker.utterances] == ["en", "fr", "de"]
    assert [each.language for each in speaker.captions if each.text in ("sais", "Das ist gut.")] == ["fr", "de"]
    assert AUTO not in {each.language for each in speaker.captions}


def test_words_that_masking_keeps_back_stay_in_their_language() -> None:
    async def scenario() -> None:
        captions: list[Caption] = []
        masks = Masks([("en", "darn"), ("en", "darn it")])
        captioner = Captioner("speaker-1", AUTO, captions.append, masks=lambda: masks)
        for word in ("darn", "je", "ne", "sais"):
            captioner.feed(Token(word, starts_word=True))
        captioner.finalise()
        captioner.close()
        assert [(each.text, each.language) for each in captions] == [("****", "en"), ("je", "fr"), ("ne", "fr"), ("sais", "fr")]

    virtual_clock.run(scenario(), limit_s=60.0)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Utterances out of speech-to-text events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.captions import CaptionAssembler, CaptionPolicy, UtteranceText
from live_transcription.captions.words import has_word
from live_transcription.stt.base import Flushed, Hypothesis, Pause, Restarted, SttEvent, Token


def partial(text: str) -> UtteranceText:
    return UtteranceText(text, final=False)


def final(text: str) -> UtteranceText:
    return UtteranceText(text, final=True)


def feed_words(assembler: CaptionAssembler, text: str, now: float = 0.0, step: float = 0.0) -> list[UtteranceText]:
    results = []
    for index, word in enumerate(text.split()):
        results += assembler.feed(Token(word), now + index * step)
    return results


class TestWordStreams:
    def test_partials_grow_and_the_servers_pause_closes(self) -> None:
        assembler = CaptionAssembler()
        assert feed_words(assembler, "Hello there you") == [
            partial("Hello"),
            partial("Hello there"),
            partial("Hello there you"),
        ]
        assert assembler.feed(Pause(), 1.0) == [final("Hello there you")]
        assert assembler.feed(Pause(), 1.1) == []
        assert assembler.next_deadline() is None

    def test_pieces_are_concatenated_and_words_joined(self) -> None:
        pieces = CaptionAssembler()
        for text in [" Hel", "lo", ",", " wor", "ld"]:
            pieces.feed(Token(text), 0.0)
        assert pieces.finalise(1.0) == [final("Hello, world")]
        words = CaptionAssembler()
        for text in ["Hello", ",", "(", "dear", ")", "world", "-", "and", "you"]:
            words.feed(Token(text), 0.0)
        assert words.finalise(1.0) == [final("Hello, (dear) world - and you")]
        told = CaptionAssembler()
        for text, starts in [("Hel", True), ("lo", False), ("world", True)]:
            told.feed(Token(text, starts_word=starts), 0.0)
        assert told.finalise(1.0) == [final("Hello world")]

    def test_first_piece_without_white_space_still_belongs_to_the_pieces_after_it(self) -> None:
        assembler = CaptionAssembler()
        for text in ["Hel", "lo", " world"]:
            last = assembler.feed(Token(text), 0.0)
        assert last == [partial("Hello world")]

    def test_local_end_of_speech_closes_after_flush_and_a_short_quiet(self) -> None:
        assembler = CaptionAssembler()
        feed_words(assembler, "good morning")
        assert assembler.end_of_speech(0.6) == []
        assert assembler.feed(Token("everybody"), 0.9) == [partial("good morning everybody")]
        assert assembler.feed(Flushed(), 1.0) == []
        assert assembler.next_deadline() == pytest.approx(1.3)
        assert assembler.tick(1.2) == []
        assert assembler.tick(1.31) == [final("good morning everybody")]

    def test_a_late_word_joins_its_utterance_while_the_flush_is_waited_for(self) -> None:
        assembler = CaptionAssembler()
        feed_words(assembler, "good morning")
        assembler.end_of_speech(0.5)
        assert assembler.tick(1.8) == []
        assert assembler.feed(Token("all"), 1.9) == [partial("good morning all")]
        assert assembler.tick(2.25) == [final("good morning all")]

    def test_a_lost_flush_closes_after_its_timeout(self) -> None:
        assembler = CaptionAssembler()
        feed_words(assembler, "good morning")
        assembler.end_of_speech(0.4)
        assert assembler.next_deadline() == pytest.approx(1.9)
        assert assembler.tick(1.91) == [final("good morning")]

    def test_speech_that_goes_on_before_the_flush_is_done_keeps_the_utterance_open(self) -> None:
        assembler = CaptionAssembler()
        feed_words(assembler, "good morning")
        assembler.end_of_speech(0.4)
        assembler.start_of_speech(0.6)
        assembler.feed(Flushed(), 0.8)
        assert assembler.tick(1.5) == []
        assert assembler.feed(Token("all"), 1.5) == [partial("good morning all")]

    def test_a_sentence_end_closes_a_long_enough_utterance_at_once(self) -> None:
        assembler = CaptionAssembler()
        text = "This sentence is surely longer than forty characters."
        assert feed_words(assembler, text)[-1] == final(text)
        assert feed_words(assembler, "Short one.")[-1] == partial("Short one.")

    @pytest.mark.parametrize("stop", ["Dr.", "M.", "J.", "e.g."])
    def test_no_sentence_ends_after_an_abbreviation(self, stop: str) -> None:
        assembler = CaptionAssembler()
        results = feed_words(assembler, f"I would like to introduce to you all our dear {stop} and")
        assert not any(result.final for result in results)

    def test_a_full_stop_between_digits_ends_no_sentence(self) -> None:
        assembler = CaptionAssembler()
        feed_words(assembler, "the value that we have measured here is about 3.")
        assert assembler.feed(Token("14", starts_word=False), 0.1) == [
            partial("the value that we have measured here is about 3.14")
        ]
        other = CaptionAssembler()
        feed_words(other, "we will all of us meet again in the year 2031.")
        assert other.feed(Token("Then"), 0.1) == [final("we will all of us meet again in the year 2031."), partial("Then")]

    def test_a_sentence_end_in_pieces_waits_for_the_next_word_or_a_quiet(self) -> None:
        assembler = CaptionAssembler()
        pieces = [" Please", " write", " to", " the", " address", " at", " example", ".", "com", " today", "."]
        results = [result for text in pieces for result in assembler.feed(Token(text), 0.0)]
        assert not any(result.final for result in results)
        assert assembler.tick(0.31) == [final("Please write to the address at example.com today.")]

    def test_the_greatest_length_cuts_before_the_word_that_exceeds_it(self) -> None:
        assembler = CaptionAssembler(CaptionPolicy(max_chars=20))
        results = feed_words(assembler, "aaaa bbbb cccc dddd eeee ffff")
        assert final("aaaa bbbb cccc dddd") in results
        assert results[-1] == partial("eeee ffff")

    def test_a_word_without_end_is_broken(self) -> None:
        assembler = CaptionAssembler()
        results = [result for _ in range(100) for result in assembler.feed(Token("x" * 10, starts_word=False), 0.0)]
        finals = [result.text for result in results if result.final]
        assert finals
        assert max(map(len, finals)) <= 250
        assert "".join(finals) + "".join(r.text for r in assembler.finalise(1.0)) == "x" * 1000

    def test_an_utterance_grows_no_older_than_twelve_seconds(self) -> None:
        assembler = CaptionAssembler()
        results = [result for second in range(12) for result in assembler.feed(Token("ho"), float(second))]
        assert not any(result.final for result in results)
        assert assembler.next_deadline() == pytest.approx(12.0)
        assert assembler.feed(Token("ho"), 12.0) == [final(" ".join(["ho"] * 12)), partial("ho")]

    def test_two_seconds_without_a_word_close_even_if_nobody_ticked(self) -> None:
        assembler = CaptionAssembler()
        feed_words(assembler, "hello")
        assert assembler.next_deadline() == pytest.approx(2.0)
        assert assembler.feed(Token("again"), 5.0) == [final("hello"), partial("again")]

    def test_punctuation_alone_is_never_shown(self) -> None:
        assembler = CaptionAssembler()
        for text in [".", "...", " ", "", "-", "?!"]:
            assert assembler.feed(Token(text), 0.0) == []
        assert assembler.finalise(1.0) == []

    def test_a_restart_shows_nothing_shorter_than_before_and_repeats_nothing(self) -> None:
        assembler = CaptionAssembler()
        feed_words(assembler, "one two three")
        assert assembler.feed(Restarted(), 0.5) == []
        assert assembler.next_deadline() is None
        assert feed_words(assembler, "one two", 40.0) == []
        assert feed_words(assembler, "tree four", 40.0) == [partial("one two tree"), partial("one two tree four")]
        assert assembler.feed(Pause(), 41.0) == [final("one two tree four")]

    def test_a_replay_that_never_comes_loses_no_word(self) -> None:
        assembler = CaptionAssembler()
        feed_words(assembler, "one two three")
        assembler.feed(Restarted(), 0.5)
        assembler.feed(Token("one"), 0.6)
        assembler.feed(Restarted(), 0.7)
        assert assembler.finalise(9.0) == [final("one two three")]
        assert assembler.finalise(9.0) == []


class TestHypotheses:
    def test_partials_are_replaced_and_the_final_closes(self) -> None:
        assembler = CaptionAssembler()
        assert assembler.feed(Hypothesis(" Ice", final=False), 0.0) == [partial("Ice")]
        assert assembler.feed(Hypothesis(" I scream", final=False), 0.5) == [partial("I scream")]
        assert assembler.feed(Hypothesis(" I scream", final=False), 0.7) == []
        assert assembler.feed(Hypothesis(" I scream.", final=True), 1.0) == [final("I scream.")]
        assert assembler.finalise(1.1) == []

    def test_an_empty_final_takes_back_what_was_shown_and_only_that(self) -> None:
        assembler = CaptionAssembler()
        assert assembler.feed(Hypothesis("", final=True), 0.0) == []
        assembler.feed(Hypothesis("you", final=False), 0.0)
        (taken_back,) = assembler.feed(Hypothesis(" . ", final=True), 0.0)
        assert taken_back.retracted
        assert not assembler.is_open

    def test_finalise_closes_what_is_open(self) -> None:
        assembler = CaptionAssembler()
        assembler.feed(Hypothesis("hello wor", final=False), 0.0)
        assert assembler.finalise(0.5) == [final("hello wor")]
        assert assembler.feed(Hypothesis("hello you", final=False), 3.0) == [partial("hello you")]

    def test_a_stream_that_goes_on_does_not_repeat_what_was_finalised(self) -> None:
        assembler = CaptionAssembler()
        assembler.feed(Hypothesis("hello dear", final=False), 0.0)
        assert assembler.finalise(0.5, more=True) == [final("hello dear")]
        assert assembler.feed(Hypothesis("Hello, dear world", final=False), 0.6) == [partial("world")]
        assert assembler.feed(Hypothesis("Hello, dear world.", final=True), 0.9) == [final("world.")]
        assert assembler.feed(Hypothesis("Hello, dear all", final=True), 3.0) == [final("Hello, dear all")]


WORD = st.from_regex(r"[a-zA-Z]{1,12}[.,?!]?", fullmatch=True)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[str], list[tuple[float, SttEvent | str]]]:
    """Words, and the events that carry them in one dialect, with pauses, flushes and time between."""
    dialect = draw(st.sampled_from(["words", "pieces", "told"]))
    words = draw(st.lists(WORD, max_size=60))
    events: list[tuple[float, SttEvent | str]] = []
    for word in words:
        gap = draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 2.5]))
        if dialect == "words":
            events.append((gap, Token(word)))
        else:
            split = draw(st.integers(1, len(word)))
            lead = " " if dialect == "pieces" else ""
            told = dialect == "told"
            events.append((gap, Token(lead + word[:split], starts_word=True if told else None)))
            if word[split:]:
                events.append((0.0, Token(word[split:], starts_word=False if told else None)))
        events += draw(st.lists(st.tuples(st.just(0.1), st.sampled_from([Pause(), Flushed(), "end", "start"])), max_size=1))
    return words, events


@given(streams(), st.booleans())
def test_no_word_is_lost_or_said_twice_and_each_utterance_has_one_final(
    stream: tuple[list[str], list[tuple[float, SttEvent | str]]], ticking: bool
) -> None:
    words, events = stream
    assembler = CaptionAssembler()
    now = 0.0
    results: list[UtteranceText] = []
    for gap, event in events:
        now += gap
        deadline = assembler.next_deadline()
        if ticking and deadline is not None and deadline <= now:
            results += assembler.tick(deadline)
        if event == "end":
            results += assembler.end_of_speech(now)
        elif event == "start":
            results += assembler.start_of_speech(now)
        else:
            assert not isinstance(event, str)
            results += assembler.feed(event, now)
    results += assembler.finalise(now)
    assert " ".join(result.text for result in results if result.final) == " ".join(words)
    assert all(has_word(result.text) for result in results)
    assert not results or results[-1].final
    assert assembler.finalise(now + 60) == []
    open_text = ""
    for result in results:
        if not result.final:
            assert result.text.startswith(open_text[:1])
            open_text = result.text
        else:
            assert result.text.split()[0].startswith(open_text.split()[0]) if open_text else True
            open_text = ""
    assert assembler.next_deadline() is None


@given(st.lists(st.tuples(st.text(max_size=30), st.booleans()), max_size=30))
def test_hypotheses_give_one_final_per_utterance_and_nothing_blank(hypotheses: list[tuple[str, bool]]) -> None:
    assembler = CaptionAssembler()
    shown = False
    for text, is_final in hypotheses:
        for result in assembler.feed(Hypothesis(text, final=is_final), 0.0):
            assert result.final == is_final
            assert has_word(result.text) or (result.retracted and shown)
            assert result.text == "" or result.text == " ".join(text.split())
            shown = not result.final
    results = assembler.finalise(1.0)
    assert len(results) == int(shown)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - typographic punctuation

"""Speech-to-text events become committed words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.captions.assembler import CaptionAssembler
from live_transcription.captions.policy import CaptionPolicy, Committed
from live_transcription.captions.words import has_word
from live_transcription.stt.base import Flushed, Hypothesis, Pause, Restarted, SttEvent, Token


def texts(results: list[Committed]) -> list[str]:
    return [result.text for result in results if result.text]


def utterances(results: list[Committed]) -> list[str]:
    return [result.utterance for result in results if result.utterance is not None]


def feed_words(assembler: CaptionAssembler, text: str, now: float = 0.0, step: float = 0.0) -> list[Committed]:
    results = []
    for index, word in enumerate(text.split()):
        results += assembler.feed(Token(word), now + index * step)
    return results


def feed_hypotheses(assembler: CaptionAssembler, *hypotheses: str, now: float = 0.0, step: float = 0.5) -> list[str]:
    """The committed texts; each hypothesis comes `step` seconds after the one before."""
    results = []
    for index, text in enumerate(hypotheses):
        results += assembler.feed(Hypothesis(text, final=False), now + index * step)
    return texts(results)


class TestWordStreams:
    def test_a_whole_word_is_committed_as_it_comes_and_a_pause_ends_the_utterance(self) -> None:
        assembler = CaptionAssembler()
        assert feed_words(assembler, "Hello there you") == [Committed("Hello"), Committed("there"), Committed("you")]
        assert assembler.feed(Pause(), 1.0) == [Committed("", "Hello there you")]
        assert assembler.feed(Pause(), 1.1) == []
        assert assembler.next_deadline() is None

    def test_a_piece_is_held_until_the_next_word_begins(self) -> None:
        assembler = CaptionAssembler()
        results = [texts(assembler.feed(Token(text), 0.0)) for text in (" Hel", "lo", ",", " wor", "ld")]
        assert results == [[], [], [], ["Hello,"], []]
        assert texts(assembler.finalise(1.0)) == ["world"]

    @pytest.mark.parametrize("event", [Pause(), Flushed()])
    def test_a_pause_or_a_flush_completes_the_held_piece(self, event: SttEvent) -> None:
        assembler = CaptionAssembler()
        for text in (" wor", "ld", "."):
            assert assembler.feed(Token(text), 0.0) == []
        assert texts(assembler.feed(event, 0.5)) == ["world."]

    def test_a_loose_mark_is_never_sent_alone(self) -> None:
        assembler = CaptionAssembler()
        results = []
        for text in ["Hello", ",", "(", "dear", ")", "world", "-", "and", "you", "."]:
            results += texts(assembler.feed(Token(text), 0.0))
        results += texts(assembler.finalise(1.0))
        assert all(has_word(text) for text in results)
        # The first mark shows that marks come alone in this session; from then on words wait for theirs.
        assert " ".join(results) == "Hello (dear) world - and you."

    @pytest.mark.parametrize("starts_word", [True, None])
    def test_a_word_waits_for_its_mark_for_a_moment_only(self, starts_word: bool | None) -> None:
        assembler = CaptionAssembler()
        for text in ("Oui", "!", "Ça"):
            assembler.feed(Token(text, starts_word), 0.0)
        assert assembler.next_deadline() == pytest.approx(0.15)
        assert texts(assembler.tick(0.15)) == ["Ça"]
        assembler.feed(Token("va", starts_word), 0.4)
        assert assembler.feed(Token("?", starts_word), 0.45) == []
        assert texts(assembler.tick(0.6)) == ["va?"]

    def test_a_session_that_continues_words_is_held_as_pieces_are(self) -> None:
        assembler = CaptionAssembler()
        results = []
        for text, starts in [("One", True), ("s", False), ("Hel", True), ("lo", False), ("world", True)]:
            results += texts(assembler.feed(Token(text, starts_word=starts), 0.0))
        assert results[-1] == "Hello"

    def test_a_flush_ends_the_utterance_with_the_words_that_came_before_it(self) -> None:
        assembler = CaptionAssembler()
        feed_words(assembler, "good morning")
        assert assembler.feed(Token("everybody"), 0.9) == [Committed("everybody")]
        assert assembler.feed(Flushed(), 1.0) == [Committed("", "good morning everybody")]

    def test_a_sentence_end_ends_a_long_enough_utterance_at_once(self) -> None:
        assembler = CaptionAssembler()
        text = "This sentence is surely longer than forty characters."
        assert feed_words(assembler, text)[-1] == Committed("characters.", text)
        assert utterances(feed_words(assembler, "Short one.")) == []

    @pytest.mark.parametrize("stop", ["Dr.", "M.", "J.", "e.g."])
    def test_no_sentence_ends_after_an_abbreviation(self, stop: str) -> None:
        assembler = CaptionAssembler()
        assert utterances(feed_words(assembler, f"I would like to introduce to you all our dear {stop} and")) == []

    def test_the_greatest_length_ends_the_utterance_before_the_next_word(self) -> None:
        assembler = CaptionAssembler(CaptionPolicy(max_chars=20))
        assert utterances(feed_words(assembler, "aaaa bbbb cccc dddd eeee")) == ["aaaa bbbb cccc dddd"]

    def test_a_word_without_end_is_broken(self) -> None:
        assembler = CaptionAssembler()
        results = [result for _ in range(100) for result in assembler.feed(Token("x" * 10, starts_word=False), 0.0)]
        results += assembler.finalise(1.0)
        assert max(len(text) for text in texts(results)) <= 250
        assert "".join(texts(results)) == "x" * 1000

    def test_an_opening_mark_that_waits_for_its_word_keeps_no_utterance_open(self) -> None:
        assembler = CaptionAssembler()
        assembler.feed(Token("hello"), 0.0)
        assembler.feed(Token("("), 0.1)
        assert assembler.tick(2.1) == [Committed("", "hello")]
        assert assembler.next_deadline() is None

    def test_marks_without_end_take_no_memory(self) -> None:
        assembler = CaptionAssembler()
        for _ in range(10_000):
            assert assembler.feed(Token("("), 0.0) == []
        assert assembler.finalise(0.0) == []

    def test_two_seconds_without_a_word_end_the_utterance_even_if_nobody_ticked(self) -> None:
        assembler = CaptionAssembler()
        feed_words(assembler, "hello")
        assert assembler.next_deadline() == pytest.approx(2.0)
        assert assembler.feed(Token("again"), 5.0) == [Committed("", "hello"), Committed("again")]


class TestHypotheses:
    def test_words_on_which_two_hypotheses_agree_are_committed_once_a_word_follows_them_in_both(self) -> None:
        assembler = CaptionAssembler()
        assert feed_hypotheses(assembler, "I would", "I would like two", "I would like to go", "I would, like to go home") == [
            "I",
            "would like",
            "to",
        ]
        assert texts(assembler.feed(Hypothesis("I would like to go home.", final=True), 2.0)) == ["go home."]

    def test_case_and_punctuation_are_those_of_the_newest_hypothesis(self) -> None:
        assembler = CaptionAssembler()
        assert feed_hypotheses(assembler, "hello my friend", "Hello, my friend, yes") == ["Hello, my"]

    def test_a_word_that_ends_either_hypothesis_waits_since_its_punctuation_may_change(self) -> None:
        assembler = CaptionAssembler()
        assert feed_hypotheses(assembler, "please press", "please", "please", "please press one") == []
        assert feed_hypotheses(assembler, "Please, press two") == ["Please, press"]

    def test_a_number_in_spanish_is_the_same_word_in_digits(self) -> None:
        assembler = CaptionAssembler()
        assert feed_hypotheses(assembler, "el número uno para", "el número 1 para entrar") == ["el número 1"]

    def test_a_word_is_in_doubt_for_two_and_a_half_seconds_at_most(self) -> None:
        assembler = CaptionAssembler()
        assert feed_hypotheses(assembler, "one", "won two", "one too three") == []
        assert assembler.next_deadline() == pytest.approx(2.5)
        assert texts(assembler.tick(2.5)) == ["one"]
        assert texts(assembler.tick(3.0)) == ["too"]
        assert assembler.next_deadline() == pytest.approx(3.5)

    def test_no_commit_ends_within_a_number_or_an_elision(self) -> None:
        assembler = CaptionAssembler()
        assert feed_hypotheses(assembler, "dial twenty five now", "dial twenty five now") == ["dial twenty five"]
        number = CaptionAssembler()
        heard = ("dial 20 5", "dial 20 5", "dial 25 now please", "dial 25 now please")
        assert feed_hypotheses(number, *heard) == ["dial", "25 now"]
        french = CaptionAssembler()
        assert feed_hypotheses(french, "pour l' appel", "pour l' appel") == ["pour"]

    def test_a_number_that_stays_the_last_word_waits_for_what_follows(self) -> None:
        assembler = CaptionAssembler()
        assert feed_hypotheses(assembler, "dial 5") == []
        assert texts(assembler.tick(2.5)) == ["dial"]
        assert assembler.next_deadline() is None
        assert texts(assembler.feed(Hypothesis("dial 5 0", final=True), 3.0)) == ["5 0"]

    def test_a_later_hypothesis_neither_repeats_nor_drops_what_follows_the_committed_words(self) -> None:
        assembler = CaptionAssembler()
        assert feed_hypotheses(assembler, "press five to hear it", "press five to hear it") == ["press five to hear"]
        final = assembler.feed(Hypothesis("Press 5 to hear it again.", final=True), 2.0)
        assert final == [Committed("it again.", "Press 5 to hear it again.")]

    def test_the_utterance_is_the_engines_last_look_and_the_difference_is_counted(self) -> None:
        assembler = CaptionAssembler()
        feed_hypotheses(assembler, "I scream for all of", "I scream for all of")
        assert assembler.feed(Hypothesis("Ice cream for all of us.", final=True), 2.0) == [
            Committed("of us.", "Ice cream for all of us.")
        ]
        assert assembler.disagreed == 2

    def test_words_committed_beyond_the_end_of_an_utterance_are_not_said_again_by_the_next(self) -> None:
        assembler = CaptionAssembler()
        heard = "press the key, then wait for it"
        assert feed_hypotheses(assembler, heard, heard) == ["press the key, then wait for"]
        assert texts(assembler.feed(Hypothesis("Press the key.", final=True), 1.0)) == []
        assert feed_hypotheses(assembler, "then wait for it and", "then wait for it and", now=1.5) == ["it"]
        final = assembler.feed(Hypothesis("Then wait for it and go.", final=True), 3.0)
        assert final == [Committed("and go.", "Then wait for it and go.")]
        assert assembler.disagreed == 0

    def test_words_committed_beyond_a_cut_are_not_repeated_although_the_word_before_the_cut_is_spelt_differently(self) -> None:
        assembler = CaptionAssembler()
        hypotheses = (
            "le mode discret, lorsque vous êtes un",
            "le mode discret, lorsque vous êtes en mode",
            "le mode discrète, lorsque vous êtes en mode direct",
            "le mode discrète, lorsque vous êtes en mode dis",
        )
        assert feed_hypotheses(assembler, *hypotheses) == ["le mode discret, lorsque vous êtes", "en", "mode"]
        final = assembler.feed(Hypothesis("Le mode discret.", final=True), 2.0)
        assert final == [Committed("", "Le mode discret.")]
        following = "lorsque vous êtes en mode discret, les autres"
        assert feed_hypotheses(assembler, following, f"{following} voix", now=2.5) == ["discret, les"]

    def test_a_word_committed_beyond_a_cut_is_not_repeated_with_other_accents(self) -> None:
        assembler = CaptionAssembler()
        feed_hypotheses(assembler, "vous êtes en mode d'iscretion", now=0.0)
        assert texts(assembler.tick(4.0)) == ["vous êtes en mode d'iscretion"]
        assert texts(assembler.feed(Hypothesis("Vous êtes en mode", final=True), 4.0)) == []
        following = "d'iscrétion, les autres"
        assert feed_hypotheses(assembler, following, f"{following} voix", now=4.2) == ["les"]

    def test_an_utterance_without_words_shows_nothing_more(self) -> None:
        assembler = CaptionAssembler()
        assert assembler.feed(Hypothesis("", final=True), 0.0) == []
        feed_hypotheses(assembler, "you", now=1.0)
        assert assembler.feed(Hypothesis(" . ", final=True), 1.5) == [Committed("", "")]

    def test_a_flush_settles_what_was_said(self) -> None:
        assembler = CaptionAssembler()
        feed_hypotheses(assembler, "well yes sir", "well yes sir")
        assembler.feed(Hypothesis("Well.", final=True), 1.0)
        assembler.feed(Flushed(), 1.0)
        assert texts(assembler.feed(Hypothesis("Yes sir.", final=True), 3.0)) == ["Yes sir."]

    def test_finalise_commits_the_last_hypothesis_as_it_is(self) -> None:
        assembler = CaptionAssembler()
        assert feed_hypotheses(assembler, "hello my", "hello my friend") == ["hello"]
        assert assembler.finalise(0.7) == [Committed("my friend", "hello my friend")]
        assert assembler.finalise(0.8) == []

    def test_scripts_without_spaces_are_committed_character_by_character(self) -> None:
        assembler = CaptionAssembler()
        assert feed_hypotheses(assembler, "你好，世", "你好，世界") == ["你好，"]
        assert texts(assembler.finalise(1.0)) == ["世界"]


WORD = st.from_regex(r"[a-zA-Z]{1,12}[.,?!]?", fullmatch=True)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[str], list[tuple[float, SttEvent]]]:
    """Words, and the events that carry them in one dialect, with pauses, flushes and time between."""
    pieces = draw(st.booleans())
    words = draw(st.lists(WORD, max_size=60))
    events: list[tuple[float, SttEvent]] = []
    for word in words:
        gap = draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 2.5]))
        if not pieces:
            events.append((gap, Token(word)))
        else:
            cut = draw(st.integers(1, len(word)))
            events.append((gap, Token(" " + word[:cut])))
            if word[cut:]:
                events.append((0.0, Token(word[cut:])))
        events += draw(st.lists(st.tuples(st.just(0.1), st.sampled_from([Pause(), Flushed()])), max_size=1))
    return words, events


@settings(deadline=None)
@given(streams(), st.booleans())
def test_a_word_stream_commits_every_word_whole_and_once(
    stream: tuple[list[str], list[tuple[float, SttEvent]]], ticking: bool
) -> None:
    words, events = stream
    assembler = CaptionAssembler()
    now = 0.0
    results: list[Committed] = []
    for gap, event in events:
        now += gap
        deadline = assembler.next_deadline()
        if ticking and deadline is not None and deadline <= now:
            results += assembler.tick(deadline)
        results += assembler.feed(event, now)
    results += assembler.finalise(now)
    assert " ".join(texts(results)).split() == words
    assert " ".join(utterances(results)).split() == words
    assert all(set(text.split()) <= set(words) for text in texts(results))
    assert assembler.finalise(now + 60) == []
    assert assembler.next_deadline() is None


@st.composite
def revised_speech(draw: st.DrawFn) -> list[tuple[str, bool]]:
    """Hypotheses of utterances whose words are all different, each wrong in a few places near its end."""
    spoken: list[tuple[str, bool]] = []
    number = 0
    for _ in range(draw(st.integers(1, 4))):
        words = [f"w{number + index}" for index in range(draw(st.integers(1, 25)))]
        number += len(words)
        heard = 0
        while heard < len(words):
            heard = min(len(words), heard + draw(st.integers(1, 4)))
            guess = list(words[:heard])
            if draw(st.booleans()):
                guess[-1] = "x"
            spoken.append((" ".join(guess), False))
        spoken.append((" ".join(words), True))
    return spoken


@settings(deadline=None)
@given(revised_speech())
def test_an_engine_that_is_unsure_of_its_last_word_only_is_captioned_without_a_fault(spoken: list[tuple[str, bool]]) -> None:
    assembler = CaptionAssembler()
    results: list[Committed] = []
    for index, (text, final) in enumerate(spoken):
        results += assembler.feed(Hypothesis(text, final=final), index * 0.5)
    said = " ".join(text for text, final in spoken if final)
    assert " ".join(texts(results)) == said
    assert " ".join(utterances(results)) == said


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=30), st.booleans()), max_size=30))
def test_whatever_an_engine_says_nothing_blank_is_committed(hypotheses: list[tuple[str, bool]]) -> None:
    assembler = CaptionAssembler()
    results: list[Committed] = []
    for index, (text, final) in enumerate(hypotheses):
        results += assembler.feed(Hypothesis(text, final=final), index * 0.3)
    results += assembler.finalise(60.0)
    for result in results:
        assert result.text == " ".join(result.text.split())
        assert has_word(result.text) or result.utterance is not None
    assert assembler.finalise(61.0) == []
    assert assembler.next_deadline() is None


def test_a_restart_alone_commits_nothing() -> None:
    assert CaptionAssembler().feed(Restarted(), 0.0) == []

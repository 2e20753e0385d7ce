# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - this file is about typographic punctuation
"""Segments: sentences where there are some, and every committed word once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from live_transcription.translation.segments import MAX_AGE_S, MAX_CHARS, Segment, Segments
from live_transcription.types import Caption


def texts(segments: list[Segment]) -> list[str]:
    return [segment.text for segment in segments]


def test_a_sentence_is_a_segment_although_its_words_come_one_by_one() -> None:
    segments = Segments()
    assert segments.offer(Caption("a", "We meet", "en"), 0.0) == []
    assert segments.offer(Caption("a", "again on", "en"), 0.3) == []
    assert texts(segments.offer(Caption("a", "Monday. At", "en"), 0.6)) == ["We meet again on Monday."]
    assert texts(segments.end_utterance("a")) == ["At"]


def test_an_abbreviation_ends_no_segment() -> None:
    assert texts(Segments().offer(Caption("a", "Ask Dr. Smith. Please", "en"), 0.0)) == ["Ask Dr. Smith."]


def test_speakers_do_not_mix() -> None:
    segments = Segments()
    segments.offer(Caption("a", "Good", "en"), 0.0)
    segments.offer(Caption("b", "Bonjour", "fr"), 0.1)
    assert texts(segments.offer(Caption("a", "morning.", "en"), 0.2)) == ["Good morning."]
    assert [(each.speaker, each.language) for each in segments.end_utterance("b")] == [("b", "fr")]


def test_a_change_of_language_ends_a_segment() -> None:
    segments = Segments()
    segments.offer(Caption("a", "Good morning", "en"), 0.0)
    found = segments.offer(Caption("a", "bonjour", "fr"), 0.1)
    assert [(each.text, each.language) for each in found] == [("Good morning", "en")]


def test_a_long_sentence_is_cut_after_a_clause_when_it_has_waited_long() -> None:
    segments = Segments()
    segments.offer(Caption("a", "When the meeting is over, we will all go", "en"), 1.0)
    assert segments.next_deadline() == 1.0 + MAX_AGE_S
    assert segments.tick(1.0 + MAX_AGE_S - 0.01) == []
    assert texts(segments.tick(1.0 + MAX_AGE_S)) == ["When the meeting is over,"]
    assert texts(segments.end_utterance("a")) == ["we will all go"]


def test_scripts_without_spaces_are_not_spaced() -> None:
    assert texts(Segments().offer(Caption("a", "今日は会議です。", "ja"), 0.0)) == ["今日は会議です。"]


WORDS = st.lists(
    st.sampled_from(["yes", "no,", "four", "hundred", "l’", "ami", "Dr.", "end.", "really?", "x" * 50]), max_size=8
)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["en", "fr"]), WORDS, st.floats(0, 5)), max_size=40))
def test_each_word_is_in_one_segment_in_order(said: list[tuple[str, str, list[str], float]]) -> None:
    segments, now = Segments(), 0.0
    found: list[Segment] = []
    for speaker, language, words, wait_s in said:
        now += wait_s
        found += segments.tick(now)
        found += segments.offer(Caption(speaker, " ".join(words), language), now)
        deadline = segments.next_deadline()
        assert deadline is None or deadline <= now + MAX_AGE_S
    found += segments.clear()
    assert segments.next_deadline() is None
    for speaker in "ab":
        expected = " ".join(word for who, _, words, _ in said if who == speaker for word in words)
        assert " ".join(each.text for each in found if each.speaker == speaker) == expected
    assert all(0 < len(each.text) <= MAX_CHARS for each in found)
    assert len({each.id for each in found}) == len(found)


def test_a_caption_of_masked_words_only_is_a_segment() -> None:
    segments = Segments()
    assert segments.offer(Caption("speaker-1", "You", "en"), 0.0) == []
    assert segments.offer(Caption("speaker-1", "****", "en"), 0.1) == []
    assert [segment.text for segment in segments.offer(Caption("speaker-1", "*****.", "en"), 0.2)] == ["You **** *****."]
    assert [segment.text for segment in segments.offer(Caption("speaker-1", "****!", "en"), 0.3)] == ["****!"]

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - typographic punctuation is what this file is about
"""Words: where they begin and end, where sentences end, where text may be cut, and how two versions of a text align."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.captions.words import align, bare, ends_sentence, has_word, join, may_end, split, squeeze

WORDS = st.lists(st.sampled_from(["one", "two", "two", "Three,", "four.", "d'accord", "25"]), max_size=30)


@pytest.mark.parametrize(
    "text",
    [
        "That is all.",
        "Really?",
        "Stop!",
        'He said "no."',
        "Wait…",
        "C'est tout.",
        "We are at 5.",
        "以上です。",
        "(That is all.)",
    ],
)
def test_sentence_ends(text: str) -> None:
    assert ends_sentence(text)


@pytest.mark.parametrize(
    "text",
    [
        "Please ask Dr.",
        "Mr.",
        "I saw M.",
        "written by J.",
        "as in e.g.",
        "and then",
        "one, two,",
        "the U.S.",
        "",
        "d'env.",
        "«Mme.",
    ],
)
def test_no_sentence_ends(text: str) -> None:
    assert not ends_sentence(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello,  world!", ["Hello, ", "world!"]),
        ("Ça va ? Oui.", ["Ça ", "va ? ", "Oui."]),
        ("- Yes - no", ["- Yes ", "- no"]),
        ("« Bonjour » dit-il", ["« Bonjour » ", "dit-il"]),
        ("你好，世界。", ["你", "好，", "世", "界。"]),
        ("... well", ["... well"]),
        ("and (", ["and "]),
        (" . ", []),
    ],
)
def test_a_word_has_its_punctuation_with_it(text: str, words: list[str]) -> None:
    assert split(text) == words


@settings(deadline=None)
@given(st.text(max_size=60))
def test_words_hold_all_of_the_text_and_none_is_blank(text: str) -> None:
    words = split(text)
    assert all(has_word(word) for word in words)
    assert squeeze(text).startswith("".join(words))
    assert not has_word(squeeze(text)[len("".join(words)) :])


@pytest.mark.parametrize(
    ("said", "text", "count"),
    [
        ("hello world", "hello world again", 2),
        ("hello world", "Hello, world! Again", 2),
        ("hello world", "hello", 1),
        ("press five", "Press 5 to", 2),
        ("I scream", "ice cream for all", 2),
        ("no no", "no no no", 2),
        ("we were there", "well we were there and back", 4),
        ("they are at home", "they're at home now", 3),
        ("I'm gonna go", "I'm going to go home", 4),
        ("你好", "你好，世界", 2),
        ("", "a b", 0),
    ],
)
def test_a_later_version_of_a_text_is_aligned_to_what_was_said(said: str, text: str, count: int) -> None:
    bares = [bare(word) for word in split(said)]
    assert align(bares, [bare(word) for word in split(text)], len(bares))[0] == count


@settings(deadline=None)
@given(WORDS, WORDS)
def test_an_extended_text_is_aligned_exactly(said: list[str], more: list[str]) -> None:
    assert align(said, said + more, len(said)) == (len(said), 0)


def test_very_long_texts_are_aligned_at_once() -> None:
    said = [f"w{index}" for index in range(3000)]
    began = time.process_time()
    assert align(said, [*said, "end"], len(said))[0] == 3000
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("word", "following", "may"),
    [
        ("and", None, True),
        ("and", "25", True),
        ("25", None, False),
        ("25", "and", True),
        ("3.", "14", False),
        ("twenty", "five", False),
        ("dreißig", None, False),
        ("zwölf", None, False),
        ("vingt", "et", True),
        ("l'", "appel", False),
        ("aujourd’", None, False),
    ],
)
def test_text_is_not_cut_within_a_number_or_an_elision(word: str, following: str | None, may: bool) -> None:
    assert may_end(word, following) is may


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Discrétion,", "discretion", True),
        ("ete\u0301", "été", True),  # an accent of its own
        ("zéro", "0", True),
        ("か", "が", False),
        ("и", "й", False),
    ],
)
def test_words_are_compared_without_case_punctuation_and_latin_accents(one: str, other: str, same: bool) -> None:
    assert (bare(one) == bare(other)) is same


def test_scripts_without_spaces_are_joined_without_one() -> None:
    assert join("你好，", "世界") == "你好，世界"
    assert join("hello", "world") == "hello world"
    assert join("", "world") == "world"

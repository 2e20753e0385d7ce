# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - typographic punctuation is what this file is about
"""Words: sentence ends, and what a rewritten text says beyond what was shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.captions.words import ends_sentence, has_word, remainder

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
    ("shown", "text", "rest"),
    [
        ("hello world", "hello world again", "again"),
        ("hello world", "hello world", ""),
        ("hello world", "hello", ""),
        ("hello world", "Hello, world! Again", "Again"),
        ("I scream", "ice cream for all", "for all"),
        ("no no", "no no no", "no"),
        ("hello wor", "hello world again", "world again"),
        ("we were there", "well we were there and back", "and back"),
        ("they are at home", "they're at home now", "now"),
        ("你好", "你好，世界", "世界"),
        ("hello world", "hello world .", ""),
        ("", " a  b ", "a b"),
    ],
)
def test_remainder_of_a_rewritten_text(shown: str, text: str, rest: str) -> None:
    assert remainder(shown, text) == rest


@given(WORDS, WORDS)
def test_remainder_of_an_extended_text_is_the_extension(shown: list[str], more: list[str]) -> None:
    assert remainder(" ".join(shown), " ".join(shown + more)) == " ".join(more)


@given(st.text(max_size=80), st.text(max_size=80))
def test_remainder_never_invents_or_blanks(shown: str, text: str) -> None:
    rest = remainder(shown, text)
    assert rest == "" or has_word(rest) or not shown.split()
    assert " ".join(text.split()).endswith(rest)


def test_remainder_of_very_long_texts_is_quick_and_exact() -> None:
    shown = [f"w{index}" for index in range(3000)]
    assert remainder(" ".join(["other", *shown[1:]]), " ".join([*shown, "end"])).endswith("end")
    assert remainder(" ".join(shown), " ".join([*shown, "end"])) == "end"

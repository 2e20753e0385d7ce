# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.word_error_rate import WordErrors, normalise, word_errors


@pytest.mark.parametrize(
    ("language", "reference", "hypothesis"),
    [
        ("en", "You're about to begin; wait.", "you are about to begin wait"),
        ("en", "He can't, he won't and he doesn't.", "he cannot he will not and he does not"),
        ("en", "mister john was cold hearted", "Mr. John was cold-hearted"),
        ("en", "Press twenty-one now", "press 21 now."),
        ("en", "It is here", "It\u2019s here"),
        ("fr", "L\u2019appel n'est pas là.", "l'appel n'est pas là"),
        ("fr", "Souhaitez-vous conserver ce message ?", "souhaitez vous conserver ce message"),
        ("fr", "appuyez sur vingt et un, puis soixante et onze", "appuyez sur 21 puis soixante et onze"),
        ("fr", "quatre-vingt-dix-sept", "97"),
        ("fr", "la conférence", "la confe\u0301rence"),
        ("es", "su contrasena, numero veintidos o treinta y uno", "su contraseña número 22 o 31"),
    ],
)
def test_what_a_reader_would_not_mind_is_no_error(language: str, reference: str, hypothesis: str) -> None:
    assert word_errors(reference, hypothesis, language).errors == 0


@pytest.mark.parametrize(
    ("language", "reference", "hypothesis", "expected"),
    [
        ("en", "the passwords did not match", "the password did not match", WordErrors(5, substitutions=1)),
        ("en", "one two three", "one three", WordErrors(3, deletions=1)),
        ("en", "one three", "one two three", WordErrors(2, insertions=1)),
        ("en", "he can go", "he can't go", WordErrors(3, insertions=1)),
        ("fr", "dès que reçu", "dès que reçue", WordErrors(3, substitutions=1)),
        ("fr", "il a été là", "il a ete la", WordErrors(4, substitutions=2)),
        ("en", "one two", "", WordErrors(2, deletions=2)),
    ],
)
def test_errors_are_counted_by_kind(language: str, reference: str, hypothesis: str, expected: WordErrors) -> None:
    assert word_errors(reference, hypothesis, language) == expected


def test_the_rate_is_over_the_words_of_the_reference() -> None:
    assert word_errors("a b c d", "a x c d", "en").rate == 0.25
    assert (WordErrors(4, substitutions=1) + WordErrors(6, deletions=1)).rate == 0.2
    assert WordErrors(0).rate == 0
    assert WordErrors(0, insertions=2).rate == 1


words = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=12)


@given(words, words)
def test_counts_agree_with_the_lengths_and_errors_with_the_other_direction(left: list[str], right: list[str]) -> None:
    there = word_errors(" ".join(left), " ".join(right), "en")
    back = word_errors(" ".join(right), " ".join(left), "en")
    assert there.words == len(left)
    assert there.words - there.deletions + there.insertions == len(right)
    assert there.errors == back.errors
    assert (there.errors == 0) == (left == right)


@given(st.text(max_size=40))
@example("0`0")
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text, "fr")
    assert normalise(" ".join(once), "fr") == once

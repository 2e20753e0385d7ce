# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - words of several scripts
"""Listed words are masked as whole words, in all their spellings, however the text is cut into messages."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.captions.masking import LONGEST_WAIT_S, Mask, Masks, MaskStream
from live_transcription.captions.policy import Committed
from live_transcription.captions.words import join


@pytest.mark.parametrize(
    ("term", "language", "text", "masked"),
    [
        ("darn", "en", "Darn it, DARN! darned", "**** it, ****! darned"),
        ("class", "en", "The classes and classics of class.", "The ******* and classics of *****."),
        ("ass", "en", "A class of assassins passes the ass.", "A class of assassins passes the ***."),
        ("puppy", "en", "Puppies and a puppy's tail", "******* and a *****'s tail"),
        ("flûte", "fr", "Flute, flûtes et FLU\u0302TE !", "*****, ****** et ****** !"),
        ("idiot", "fr", "L'idiot et l’idiote", "L'***** et l’******"),
        ("scheiße", "de", "So eine SCHEISSE, scheiße.", "So eine ********, *******."),
        ("mist*", "de", "Mistwetter und Mist, aber Optimist", "********** und ****, aber Optimist"),
        ("x-word", "en", "the x-word, the X word, xwords", "the *-****, the * ****, ******"),
        ("out of order", "en", "You are out of order. Out of the order!", "You are *** ** *****. Out of the order!"),
        ("out of", "en", "He was out. Of course.", "He was out. Of course."),
        ("馬鹿", "ja", "あの馬鹿な人", "あの**な人"),
        ("ура", "ru", "Ура! Уравнение", "***! Уравнение"),
        ("ばか", "ja", "はかとばか", "はかと**"),
        ("काम", "hi", "काम कम", "*** कम"),
        ("का", "hi", "की के का कान", "की के ** कान"),
        ("كلب", "ar", "كَلْب كلبة", "***** كلبة"),
        ("כלב", "he", "כֶּלֶב כלבה", "****** כלבה"),
    ],
)
def test_spellings(term: str, language: str, text: str, masked: str) -> None:
    assert Mask([term], language).apply(text) == masked


def test_lists_of_languages() -> None:
    masks = Masks([("en", "darn"), ("", "zut")])
    assert masks.apply("darn zut", "en") == "**** ***"
    assert masks.apply("darn zut", "fr") == "darn ***"
    assert Masks([("en", "darn")]).of("fr") is None


_WORDS = ("out", "of", "order", "darn", "darns", "fine", "x-word", "word.", "Of", "out,")
_TERMS = ("out of order", "darn", "x-word", "of word")


def _shown(mask: Mask, pieces: list[str], waits: list[bool]) -> str:
    """What readers see; after a piece with a wait, its words have been kept for too long."""
    stream, shown, now = MaskStream(), "", 0.0

    def show(text: str) -> None:
        nonlocal shown
        if text:
            shown = join(shown, text)

    for piece, wait in zip(pieces, waits, strict=True):
        show(stream.feed(Committed(piece), mask, now).text)
        if wait:
            now += LONGEST_WAIT_S
            show(stream.expire(mask, now))
            assert stream.next_deadline() is None
    show(stream.feed(Committed("", "end"), mask, now).text)
    return shown


@given(st.lists(st.tuples(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4), st.booleans()), min_size=1, max_size=8))
def test_no_split_shows_a_term(parts: list[tuple[list[str], bool]]) -> None:
    mask = Mask(_TERMS, "en")
    pieces, waits = [" ".join(words) for words, _ in parts], [wait for _, wait in parts]
    whole = " ".join(pieces)
    assert _shown(mask, pieces, [False] * len(pieces)) == mask.apply(whole)
    late = _shown(mask, pieces, waits)
    assert mask.apply(late) == late
    assert all(shown in ("*", said) for shown, said in zip(late, whole, strict=True))


@given(st.lists(st.text(alphabet="abc déß-'.,!?*日本 \u0301", max_size=12).map(str.strip).filter(bool), max_size=6))
def test_other_text_passes_at_once(pieces: list[str]) -> None:
    mask, stream = Mask(["zzz", "qqq www"], "en"), MaskStream()
    assert [stream.feed(Committed(piece), mask, 0.0).text for piece in pieces] == pieces


def test_first_words_of_a_term_are_kept_for_a_second_at_most() -> None:
    mask, stream = Mask(["out of order"], "en"), MaskStream()
    assert stream.feed(Committed("You are out"), mask, 5.0).text == "You are"
    assert stream.next_deadline() == 5.0 + LONGEST_WAIT_S
    assert stream.expire(mask, 5.9) == ""
    assert stream.expire(mask, 6.0) == "out"
    assert stream.feed(Committed("of order now"), mask, 6.5).text == "** ***** now"


def test_the_utterance_ends_the_wait() -> None:
    mask, stream = Mask(["out of order"], "en"), MaskStream()
    assert stream.feed(Committed("out of"), mask, 0.0).text == ""
    assert stream.feed(Committed("", "Out of order, out of."), mask, 0.1) == Committed("out of", "*** ** *****, out of.")


def test_without_a_list_nothing_changes() -> None:
    stream, result = MaskStream(), Committed("out of", "out of order")
    assert stream.feed(result, Masks().of("en"), 0.0) is result


def test_a_list_that_is_removed_releases_what_waits() -> None:
    stream = MaskStream()
    stream.feed(Committed("out"), Mask(["out of order"], "en"), 0.0)
    assert stream.feed(Committed("of order"), None, 0.1).text == "out of order"


def test_no_text_takes_long() -> None:
    mask = Mask(["a a a a a a a b", *(f"word{n}" for n in range(500))], "en")
    assert re.fullmatch(r"(a )+", mask.apply("a " * 2000))

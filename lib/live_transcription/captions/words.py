# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - this file is about typographic punctuation
"""Splits text into words, finds the ends of sentences and places where text may be cut, and aligns two versions of a text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

#: Scripts without spaces between words: Thai, Lao, Khmer, kana and han, but not hangul. Each character counts as a word.
UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_SEAM = re.compile(rf"[{UNSPACED}。，、！？]$")
#: Invisible characters that Persian, Indic scripts and emoji need.
_JOINERS = "\u200c\u200d"
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")

_MARKS, _CLOSERS = ".!?…。！？", "\"'”’»)]"
_OPENING = frozenset("([{«“‘¿¡")
_SPACED = frozenset("-–—&+=/*#@")
_SENTENCE_END = re.compile(rf"(?P<word>\S*?)(?P<mark>[.!?…]+|[。！？])[{re.escape(_CLOSERS)}]*$")

#: English and French words after which a full stop ends no sentence. The same goes for a single letter (an initial, "M.").
_ABBREVIATION = re.compile(
    r"mrs?|ms|dr|prof|st|sr|jr|vs|gen|col|capt|lt|sgt|rev|hon|nos|vol|fig|approx|dept|est|e\.g|i\.e|[ap]\.m"
    r"|mmes?|mlles?|mgr|pr|cf|env|chap|p\.ex|[^\W\d_]"
)


def _without_accents(text: str) -> str:
    """Remove the accents of Latin letters, since two hypotheses may differ in them. Text in other scripts does not change."""
    if text.isascii():
        return text
    characters = unicodedata.normalize("NFC", text)
    bases = (unicodedata.normalize("NFD", character)[0] for character in characters)
    return "".join(base if base.isascii() else character for base, character in zip(bases, characters, strict=True))


#: Number words from zero to twelve, in order. An engine also writes them in digits.
_DIGITS = {
    _without_accents(word): str(number)
    for words in (
        "zero one two three four five six seven eight nine ten eleven twelve",
        "zéro un deux trois quatre cinq six sept huit neuf dix onze douze",
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
    )
    for number, word in enumerate(words.split())
}
#: Other words that are parts of numbers, as `bare` returns them.
_NUMERALS = re.compile(
    r"(thir|four|fif|six|seven|eigh|nine)teen|(twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|point|percent"
    r"|treize|quatorze|quinze|seize|vingts?|trente|quarante|cinquante|soixante|cents?|mille|virgule"
    r"|\w+zehn|zwanzig|dreissig|\w+zig|hundert|tausend|komma|prozent"
)

#: Maximum number of words that are aligned. Of a longer text, the last ones are used.
LONGEST = 400


def has_word(text: str) -> bool:
    """Whether the text has a letter or a digit."""
    return any(character.isalnum() for character in text)


def squeeze(text: str) -> str:
    """Remove surrounding white space, and replace each other run of white space by one space."""
    return " ".join(text.split())


def one_line(text: str) -> str:
    """The text in one line, without invisible characters such as those that reverse its direction; joiners stay."""
    kept = (_visible(character) for character in text) if not text.isascii() or not text.isprintable() else text
    return squeeze("".join(kept))


def _visible(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return "" if unicodedata.category(character) == "Cf" else " "


def join(before: str, after: str) -> str:
    """Join two texts, with a space between them if their script uses spaces."""
    return f"{before}{after}" if not before or (_SEAM.search(before) and _SEAM.search(after[:1])) else f"{before} {after}"


def clings(text: str) -> bool:
    """Whether the text is punctuation that belongs to the word before it."""
    mark = text.strip()
    return bool(mark) and not has_word(mark) and not opens(mark)


def opens(text: str) -> bool:
    """Whether the text is punctuation that belongs to the word after it."""
    return text[:1] in _SPACED or attaches(text)


def attaches(text: str) -> bool:
    """Whether there is no space between this punctuation and the word after it."""
    return text[:1] in _OPENING


def split(text: str) -> list[str]:
    """Split a text into words. Each word includes its punctuation and the space after it, so joining them gives the text."""
    text = squeeze(text)
    starts: list[int] = []
    opened = False
    for match in _WORD.finditer(text):
        word = has_word(match.group())
        if not opened and (word or not starts or not clings(match.group())):
            starts.append(match.start())
            opened = not word
        elif word:
            opened = False
    words = (text[start:end] for start, end in pairwise([*starts, len(text)]))
    return [word for word in words if has_word(word)]


def bare(word: str) -> str:
    """The form of a word that is compared: without case, accents and surrounding punctuation, with small numbers as digits."""
    core = _without_accents(_EDGES.sub("", word).casefold())
    return _DIGITS.get(core, core)


def may_end(word: str, following: str | None) -> bool:
    """Whether text may be cut after `word`, which is not so within a number or an elision.

    `following` is the next word, or None if it is not known.
    """
    if word.rstrip().endswith(("'", "’", "-")):
        return False
    return not _is_numeric(word) or (following is not None and not _is_numeric(following))


def _is_numeric(word: str) -> bool:
    core = bare(word)
    return core[:1].isdigit() or _NUMERALS.fullmatch(core) is not None


def ends_sentence(text: str) -> bool:
    """Whether the text ends with the end of a sentence, and not with an abbreviation or an initial."""
    if not text.rstrip(_CLOSERS).endswith(tuple(_MARKS)):  # the usual case
        return False
    match = _SENTENCE_END.search(text.rsplit(None, 1)[-1])
    if match is None:
        return False
    if match["mark"] != ".":
        return True
    word = match["word"].lstrip("\"'“‘«([¿¡").lower()
    return not any(_ABBREVIATION.fullmatch(part) for part in (word, re.split(r"['’.-]", word)[-1]))


def align(said: Sequence[str], text: Sequence[str], wanted: int) -> tuple[int, int]:
    """Align `said` to the start of `text`, both given as bare words.

    Returns the length of the prefix of `text` with the smallest Levenshtein distance to `said`, and that distance. Among
    prefixes with equal distances, those that end with the last word of `said` are preferred, then the one whose length is
    closest to `wanted`.
    """
    if list(text[: len(said)]) == list(said):
        return len(said), 0
    said, text = said[-LONGEST:], text[: 2 * LONGEST]
    row = list(range(len(text) + 1))
    for index, word in enumerate(said, start=1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(text, start=1):
            substitution = diagonal + (word != other)
            diagonal = row[column]
            row[column] = min(substitution, diagonal + 1, row[column - 1] + 1)
    best = min(range(len(text) + 1), key=lambda end: (row[end], end == 0 or text[end - 1] != said[-1], abs(end - wanted)))
    return best, row[best]

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - typographic punctuation is what this file is about
"""Words in running text: what counts as one, where sentences end, where text may be cut, and how two versions align."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

#: Scripts that put no space between words (Thai, Lao, Khmer, kana, han; hangul is spaced): each character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_SEAM = re.compile(rf"[{_UNSPACED}。，、！？]$")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")

_MARKS, _CLOSERS = ".!?…。！？", "\"'”’»)]"
_OPENING = frozenset("([{«“‘¿¡")
_SPACED = frozenset("-–—&+=/*#@")
_SENTENCE_END = re.compile(rf"(?P<word>\S*?)(?P<mark>[.!?…]+|[。！？])[{re.escape(_CLOSERS)}]*$")

#: Words whose full stop ends no sentence, English and French. A single letter (an initial, French "M.") never does.
_ABBREVIATION = re.compile(
    r"mrs?|ms|dr|prof|st|sr|jr|vs|gen|col|capt|lt|sgt|rev|hon|nos|vol|fig|approx|dept|est|e\.g|i\.e|[ap]\.m"
    r"|mmes?|mlles?|mgr|pr|cf|env|chap|p\.ex|[^\W\d_]"
)
#: Number words that an engine also writes in digits. The position gives the digit, up to twelve.
_DIGITS = {
    word: str(number)
    for words in (
        "zero one two three four five six seven eight nine ten eleven twelve",
        "zéro un deux trois quatre cinq six sept huit neuf dix onze douze",
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    )
    for number, word in enumerate(words.split())
}
#: Other words that numbers are made of.
_NUMERALS = re.compile(
    r"(thir|four|fif|six|seven|eigh|nine)teen|(twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|point|percent"
    r"|treize|quatorze|quinze|seize|vingts?|trente|quarante|cinquante|soixante|cents?|mille|virgule"
    r"|\w+zehn|zwanzig|dreißig|\w+zig|hundert|tausend|komma|prozent"
)

#: Number of words that are aligned: the last ones of a longer text.
LONGEST = 400


def has_word(text: str) -> bool:
    """Whether there is anything but white space and punctuation."""
    return any(character.isalnum() for character in text)


def squeeze(text: str) -> str:
    """Without surrounding white space, and each run of it as one space."""
    return " ".join(text.split())


def join(before: str, after: str) -> str:
    """Both texts, with a space between them unless their script has none."""
    return f"{before}{after}" if not before or (_SEAM.search(before) and _SEAM.search(after[:1])) else f"{before} {after}"


def clings(text: str) -> bool:
    """Whether the text is punctuation that belongs to the word before it."""
    mark = text.strip()
    return bool(mark) and not has_word(mark) and not opens(mark)


def opens(text: str) -> bool:
    """Whether the text is punctuation that belongs to the word after it."""
    return text[:1] in _SPACED or attaches(text)


def attaches(text: str) -> bool:
    """Whether no space stands between this mark and the word after it."""
    return text[:1] in _OPENING


def split(text: str) -> list[str]:
    """The words of a text. Each has its punctuation and the space after it, so that joined they are the squeezed text."""
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
    """A word as it is compared: without case and surrounding punctuation, small numbers as digits."""
    core = _EDGES.sub("", word).casefold()
    return _DIGITS.get(core, core)


def may_end(word: str, following: str | None) -> bool:
    """Whether text may be cut after `word`: not within a number or an elision. `following`: the next word, if known."""
    if word.rstrip().endswith(("'", "’", "-")):
        return False
    return not _is_numeric(word) or (following is not None and not _is_numeric(following))


def _is_numeric(word: str) -> bool:
    core = bare(word)
    return core[:1].isdigit() or _NUMERALS.fullmatch(core) is not None


def ends_sentence(text: str) -> bool:
    """Whether the text ends like a sentence; not after an abbreviation or an initial."""
    if not text.rstrip(_CLOSERS).endswith(tuple(_MARKS)):  # nearly every text that grows by a word
        return False
    match = _SENTENCE_END.search(text.rsplit(None, 1)[-1])
    if match is None:
        return False
    if match["mark"] != ".":
        return True
    word = match["word"].lstrip("\"'“‘«([¿¡").lower()
    return not any(_ABBREVIATION.fullmatch(part) for part in (word, re.split(r"['’.-]", word)[-1]))


def align(said: Sequence[str], text: Sequence[str], wanted: int) -> tuple[int, int]:
    """How many words at the start of `text` correspond to `said`, and in how many words they differ. Both are bare words.

    This is the prefix of `text` with the smallest Levenshtein distance to `said`. Among equals, one that ends with the same
    word wins, then the one whose length is closest to `wanted`.
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

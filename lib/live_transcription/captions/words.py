# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - typographic punctuation is what this file is about
"""Words in running text: what counts as one, where sentences end, and how much of a rewritten text was shown before."""

from __future__ import annotations

import re

#: Scripts that put no space between words (Thai and Lao, kana, han, hangul stays spaced): each character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")

_MARKS, _CLOSERS = ".!?…。！？", "\"'”’»)]"
_SENTENCE_END = re.compile(rf"(?P<word>\S*?)(?P<mark>[.!?…]+|[。！？])[{re.escape(_CLOSERS)}]*$")

#: Words whose full stop ends no sentence, English and French. A single letter (an initial, French "M.") never does.
_ABBREVIATION = re.compile(
    r"mrs?|ms|dr|prof|st|sr|jr|vs|gen|col|capt|lt|sgt|rev|hon|nos|vol|fig|approx|dept|est|e\.g|i\.e|[ap]\.m"
    r"|mmes?|mlles?|mgr|pr|cf|env|chap|p\.ex|[^\W\d_]"
)

#: Longest text in words that is compared; both sides are cut from the front beyond it.
_LONGEST = 400


def has_word(text: str) -> bool:
    """Whether there is anything but white space and punctuation."""
    return any(character.isalnum() for character in text)


def squeeze(text: str) -> str:
    """Without surrounding white space, and each run of it as one space."""
    return " ".join(text.split())


def last_words(text: str) -> str:
    """Squeezed, and cut from the front to a length that `remainder` compares whole."""
    return " ".join(text.split()[-_LONGEST:])


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


def ends_in_digit_point(text: str) -> bool:
    """Whether the text ends in a digit and a full stop, which the next digit may turn into a number ("3." "14")."""
    return len(text) >= 2 and text[-1] == "." and text[-2].isdigit()


def remainder(shown: str, text: str) -> str:
    """What `text` says beyond `shown`, where `text` is a later, perhaps rewritten, version of the same utterance.

    The start of `text` that is nearest to `shown` in word edits counts as shown; of equally near ones the one of the
    same number of words. A last word that was shown unfinished ("wor") is repeated whole ("world").
    """
    old = [_bare(match.group()) for match in _WORD.finditer(shown)]
    matches = list(_WORD.finditer(text))
    new = [_bare(match.group()) for match in matches]
    if not old:
        return squeeze(text)
    split = len(old) if new[: len(old)] == old else _nearest_prefix(old, new)
    if split and split <= len(new) and new[split - 1] != old[-1] and old[-1] and new[split - 1].startswith(old[-1]):
        split -= 1
    if split >= len(new):
        return ""
    rest = squeeze(text[matches[split].start() :]).lstrip(",.;:!?…，。、！？ ")
    return rest if has_word(rest) else ""


def _bare(word: str) -> str:
    return _EDGES.sub("", word).casefold()


def _nearest_prefix(old: list[str], new: list[str]) -> int:
    """Length of the prefix of `new` with the least Levenshtein distance to `old`, in words."""
    skipped = max(0, len(old) - _LONGEST)
    if skipped and new[:skipped] == old[:skipped]:
        old, new = old[skipped:], new[skipped:]
    else:
        skipped = 0
    new = new[: _LONGEST * 2]
    row = list(range(len(new) + 1))
    for index, word in enumerate(old[:_LONGEST], start=1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(new, start=1):
            substitution = diagonal + (word != other)
            diagonal = row[column]
            row[column] = min(substitution, diagonal + 1, row[column - 1] + 1)
    return skipped + min(range(len(new) + 1), key=lambda end: (row[end], abs(end - len(old))))

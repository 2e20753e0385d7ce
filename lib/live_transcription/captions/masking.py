# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - this file is about typographic punctuation
"""Replaces listed words by asterisks before captions leave the engine.

A text is compared unit by unit. A unit is a run of letters and digits, so a hyphen or an apostrophe separates units as a space
does; in scripts without spaces it is one character. Units that differ only in case, accents, or "ß" and "ss" are equal.
The last unit of a term may have a regular ending of its language. A unit never matches within a longer one.

Words are committed one or a few at a time. `MaskStream` therefore keeps the first words of a term until the next ones show
whether the term is complete, the utterance ends, or `LONGEST_WAIT_S` have passed. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from live_transcription.captions.policy import Committed
from live_transcription.captions.words import UNSPACED, join

#: Seconds for which words that may begin a term of several words are kept.
LONGEST_WAIT_S = 1.0

#: Regular endings of plurals and inflected forms, by language. They are compared without accents.
_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "en": ("s", "es"),
    "fr": ("s", "x", "e", "es"),
    "de": ("e", "n", "en", "er", "es", "s", "ern"),
    "es": ("s", "es"),
    "pt": ("s", "es"),
    "ca": ("s", "es"),
    "nl": ("s", "en", "e"),
    "sv": ("s", "n", "en", "ar", "or", "er"),
}
#: Combining marks of all scripts, such as accents and the vowel signs of Hindi, and the joiners between letters.
_MARK = "".join(chr(code) for code in range(0x300, 0x3100) if unicodedata.category(chr(code)).startswith("M")) + "\u200c\u200d"
#: Marks that a speller may leave out: accents, and the vowels of Hebrew and Arabic. Other marks distinguish words.
_OPTIONAL = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u200c\u200d]")
_UNIT = re.compile(rf"[{UNSPACED}][{_MARK}]*|(?:(?![{UNSPACED}])[^\W_][{_MARK}]*)+")
#: Ends a sentence or a clause, or is masked already.
_BREAK = re.compile(r"[.!?;:…。！？*]")
_SPACELESS = re.compile(rf"[{UNSPACED}]")
#: A letter or digit, and its combining marks: each character becomes an asterisk, so that positions stay.
_MASKED = re.compile(rf"[^\W_{_MARK}]|[{_MARK}]")
#: Letters that have no decomposition.
_LETTERS = str.maketrans({"ı": "i", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe"})


def _plain(text: str) -> str:
    """The form in which units are compared."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFKC", _OPTIONAL.sub("", decomposed)).translate(_LETTERS)


@dataclass(frozen=True, slots=True)
class _Unit:
    plain: str = field(repr=False)
    start: int
    end: int
    #: Whether a sentence or a clause ends before it, so that no term continues here.
    begins: bool


def _units(text: str) -> list[_Unit]:
    found, last = [], 0
    for match in _UNIT.finditer(text):
        begins = bool(_BREAK.search(text, last, match.start()))
        found.append(_Unit(_plain(match.group()), match.start(), match.end(), begins))
        last = match.end()
    return found


@dataclass(slots=True)
class _Node:
    """Where the terms with the same first units continue. `ends`: a term is complete here."""

    following: dict[str, _Node] = field(default_factory=dict)
    #: Beginnings of last units that may have any ending.
    open_ends: tuple[str, ...] = ()
    ends: bool = False


class Mask:
    """The terms of one language."""

    def __init__(self, terms: Sequence[str], language: str) -> None:
        self._root = _Node()
        for term in terms:
            self._add(term, _ENDINGS.get(language, ()))

    def _add(self, term: str, endings: Sequence[str]) -> None:
        units = [unit.plain for unit in _units(term)]
        if not units:
            return
        node = self._root
        for unit in units[:-1]:
            node = node.following.setdefault(unit, _Node())
        last = units[-1]
        if term.rstrip().endswith("*"):
            node.open_ends = (*node.open_ends, last)
            return
        forms = [last, *(last + ending for ending in endings)]
        if endings and last.endswith("y"):
            forms.append(last[:-1] + "ies")
        for form in forms:
            node.following.setdefault(form, _Node()).ends = True
        if len(units) > 1 and not _SPACELESS.search(term):
            # A term with a hyphen or a space is also found if it is spelled as one word.
            self._add("".join(units), endings)

    def apply(self, text: str) -> str:
        """The text with each letter and digit of the listed words replaced by an asterisk."""
        return _asterisks(text, self._find(_units(text), complete=True)[0])

    def apply_after(self, context: str, text: str) -> str:
        """Mask a text that ends here and follows `context`, which was sent already."""
        whole = join(context, text)
        return _asterisks(whole, self._find(_units(whole), complete=True)[0])[len(whole) - len(text) :]

    def split(self, context: str, text: str) -> tuple[str, str]:
        """Mask a text that continues, and that follows `context`, which was sent already.

        Returns the masked text that can be sent, and the rest, which may be the beginning of a term, as it was said.
        """
        whole = join(context, text)
        first, units = len(whole) - len(text), _units(whole)
        if _BREAK.search(whole, units[-1].end if units else 0):
            units.append(_Unit("", len(whole), len(whole), begins=True))
        spans, undecided = self._find(units, complete=False)
        cut = len(whole) if undecided is None else max(first, undecided)
        if undecided is not None:  # keep the whole word, with the punctuation before it
            while cut > first and not whole[cut - 1].isspace() and not _SPACELESS.match(whole[cut - 1]):
                cut -= 1
        return _asterisks(whole, spans)[first:cut].strip(), whole[cut:]

    def _find(self, units: Sequence[_Unit], *, complete: bool) -> tuple[list[tuple[int, int]], int | None]:
        """The spans of the text to mask. Unless it is `complete`, also the place from which on more text has to decide."""
        spans: list[tuple[int, int]] = []
        at = 0
        while at < len(units):
            length, undecided = self._match(units, at)
            if undecided and not complete:
                return spans, units[at].start
            if length:
                spans.append((units[at].start, units[at + length - 1].end))
            at += max(1, length)
        return spans, None

    def _match(self, units: Sequence[_Unit], at: int) -> tuple[int, bool]:
        """The number of units of the longest term that begins here, and whether a longer one may follow the text."""
        node, longest = self._root, 0
        for position in range(at, len(units)):
            unit = units[position]
            if position > at and unit.begins:
                return longest, False
            if unit.plain.startswith(node.open_ends):
                longest = position - at + 1
            following = node.following.get(unit.plain)
            if following is None:
                return longest, False
            node = following
            if node.ends:
                longest = position - at + 1
        return longest, bool(node.following or node.open_ends)


class Masks:
    """The terms of all languages: pairs of a language, or "" for every language, and a term."""

    def __init__(self, terms: Sequence[tuple[str, str]] = ()) -> None:
        self._terms = terms
        self._masks: dict[str, Mask | None] = {}

    def of(self, language: str) -> Mask | None:
        """The mask of a language; None if it has no terms."""
        if not self._terms:
            return None
        if language not in self._masks:
            terms = [term for code, term in self._terms if code in ("", language)]
            self._masks[language] = Mask(terms, language) if terms else None
        return self._masks[language]

    def apply(self, text: str, language: str) -> str:
        """The text with the listed words of its language masked."""
        mask = self.of(language)
        return text if mask is None else mask.apply(text)


class MaskStream:
    """Masks the committed words of one speaker. `now` is in seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._kept = ""
        self._kept_since = 0.0
        # Words that were kept for too long and sent. A term that they begin is masked from the next word on.
        self._context = ""

    def feed(self, result: Committed, mask: Mask | None, now: float) -> Committed:
        """The result with masked words; those that may begin a term are kept. Without a `mask` it does not change."""
        if mask is None and not self._kept:
            return result
        before, text = self._kept, self._take(result.text)
        context, self._context = self._context, ""
        if mask is None:
            return Committed(text, result.utterance)
        if result.utterance is not None:
            return Committed(mask.apply_after(context, text), mask.apply(result.utterance))
        ready, kept = mask.split(context, text)
        if kept:
            self._kept = kept
            if not ready:
                self._context = context
            if ready or not before:
                self._kept_since = now
        return Committed(ready)

    def expire(self, mask: Mask | None, now: float) -> str:
        """The masked words that were kept for too long, "" if there are none."""
        deadline = self.next_deadline()
        return self.release(mask) if deadline is not None and now >= deadline else ""

    def release(self, mask: Mask | None) -> str:
        """The words that are kept, masked."""
        text = self._take("")
        if mask is None or not text:
            return text
        masked = mask.apply_after(self._context, text)
        self._context = join(self._context, text)
        return masked

    def next_deadline(self) -> float | None:
        """The time at which to call `expire`; None if no words are kept."""
        return self._kept_since + LONGEST_WAIT_S if self._kept else None

    def _take(self, more: str) -> str:
        kept, self._kept = self._kept, ""
        return join(kept, more) if more else kept


def _asterisks(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Replace letters and digits only, without changing the length of the text."""
    parts, last = [], 0
    for start, end in spans:
        parts += [text[last:start], _MASKED.sub("*", text[start:end])]
        last = end
    return "".join([*parts, text[last:]])

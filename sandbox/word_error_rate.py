# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Word error rate of captions, as NIST's sclite counts it: (substitutions + deletions + insertions) / words of the reference.

Both sides are normalised first, by what makes no difference to a reader and nothing more: case, punctuation, hyphens, the
form of an apostrophe, English contractions (you're = you are), French elisions (l'appel = l appel), Mr and Mrs, and whole
numbers below a hundred written in digits or words. Accents count, as do endings that sound alike. Spanish accents do not, since
the only Spanish references (Asterisk's prompts) are written without them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_CONTRACTIONS = (
    (re.compile(r"\bwon't\b"), "will not"),
    (re.compile(r"\bcan't\b|\bcannot\b"), "can not"),
    (re.compile(r"\bshan't\b"), "shall not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"'re\b"), " are"),
    (re.compile(r"'ll\b"), " will"),
    (re.compile(r"'ve\b"), " have"),
    (re.compile(r"'m\b"), " am"),
    (re.compile(r"\b(it|that|there|he|she|what|who|let)'s\b"), r"\1 s"),
    (re.compile(r"\bit is\b"), "it s"),
    (re.compile(r"\bthat is\b"), "that s"),
    (re.compile(r"\bthere is\b"), "there s"),
)
_TITLES = {"en": {"mr": "mister", "mrs": "missus", "dr": "doctor"}, "fr": {"mme": "madame", "mlle": "mademoiselle"}}
_ONES = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit "
    "dix-neuf",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis diecisiete "
    "dieciocho diecinueve veinte veintiuno veintidos veintitres veinticuatro veinticinco veintiseis veintisiete veintiocho "
    "veintinueve",
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "fr": "vingt trente quarante cinquante soixante soixante-dix quatre-vingt quatre-vingt-dix",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
}
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Counts of one or, added up, of several texts."""

    words: int
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """May exceed 1 where many words were inserted; for an empty reference 0 or 1."""
        return self.errors / self.words if self.words else float(self.errors > 0)

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def normalise(text: str, language: str) -> list[str]:
    """The words of a text as they are compared; `language` is a code such as `en` or `fr-CA`."""
    code = language.split("-", maxsplit=1)[0].lower()
    text = unicodedata.normalize("NFC", text).lower()
    if code == "es":
        text = "".join(character for character in unicodedata.normalize("NFD", text) if not unicodedata.combining(character))
    text = re.sub("[\u2019\u2018\u02bc`\u00b4]", "'", text)
    text = re.sub("[\u2010-\u2015-]", " ", text)
    if code == "en":
        for pattern, replacement in _CONTRACTIONS:
            text = pattern.sub(replacement, text)
    words = []
    for token in _WORD.findall(text):
        # Elisions are split before numbers are spelt out, so that "l'1" and "l' 1" read the same.
        for word in token.split("'") if code == "fr" else [token.replace("'", "")]:
            word = _TITLES.get(code, {}).get(word, word)
            if word.isascii() and word.isdigit() and len(word) <= 2 and code in _ONES:
                word = _in_words(int(word), code)
            words += word.replace("-", " ").split()
    return words


def word_errors(reference: str, hypothesis: str, language: str) -> WordErrors:
    """The fewest errors that turn the reference into the hypothesis, after `normalise`."""
    return _align(normalise(reference, language), normalise(hypothesis, language))


def writing_errors(reference: str, hypothesis: str) -> WordErrors:
    """Like `word_errors`, but case and punctuation count, too."""
    return _align(reference.split(), hypothesis.split())


def _align(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Levenshtein over words; each cell holds (errors, substitutions, deletions, insertions)."""
    row = [(n, 0, 0, n) for n in range(len(hypothesis) + 1)]
    for index, expected in enumerate(reference, 1):
        above, row = row, [(index, 0, index, 0)]
        for column, said in enumerate(hypothesis, 1):
            errors, substitutions, deletions, insertions = above[column - 1]
            if expected == said:
                row.append(above[column - 1])
                continue
            substitute = (errors + 1, substitutions + 1, deletions, insertions)
            errors, substitutions, deletions, insertions = above[column]
            delete = (errors + 1, substitutions, deletions + 1, insertions)
            errors, substitutions, deletions, insertions = row[column - 1]
            insert = (errors + 1, substitutions, deletions, insertions + 1)
            row.append(min(substitute, delete, insert, key=lambda cell: cell[0]))
    _, substitutions, deletions, insertions = row[-1]
    return WordErrors(len(reference), substitutions, deletions, insertions)


def _in_words(number: int, code: str) -> str:
    ones = _ONES[code].split()
    if number < len(ones):
        return ones[number]
    ten, one = divmod(number, 10)
    if code == "fr" and ten in (7, 9):
        return f"{_TENS[code].split()[ten - 3]} {ones[10 + one]}"
    tens = _TENS[code].split()[ten - 2]
    if not one:
        return tens
    if code == "es":
        return f"{tens} y {ones[one]}"
    return f"{tens} et un" if code == "fr" and one == 1 and ten < 7 else f"{tens} {ones[one]}"

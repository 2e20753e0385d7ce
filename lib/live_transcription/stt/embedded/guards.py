# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Detects text that Whisper makes up: loops, text for noise, and film credits from its training data. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: A text is noise if its mean log-probability per token is below `HOPELESS_SCORE`, or if it is below `DOUBTFUL_SCORE` and the
#: probability of no speech is above `DOUBTFUL_NO_SPEECH`. In tests speech scored -0.9 or more; noise scored -1.1 or less, with
#: a probability of no speech of 0.6 or more.
DOUBTFUL_SCORE = -1.0
DOUBTFUL_NO_SPEECH = 0.6
HOPELESS_SCORE = -1.6

#: Minimum number of words that repeat, and how many times in a row they must repeat to count as a loop.
_LOOPS = ((1, 5), (2, 4), (3, 3))
_LONGEST = 24
#: Minimum words of a sentence that Whisper repeats if its encoder window is too short. People also repeat themselves.
_ECHO_WORDS = 5

_CREDITS = re.compile(
    r"""
    amara\.org | thanks\ for\ watching
    | sous-titrage | sous-titres\ (réalisés|par)
    | untertitel(ung)?\ (der|des|von|im\ auftrag)
    | subtítulos\ (realizados|por) | legendas\ pela
    | sottotitoli\ (creati|a\ cura)
    | ondertiteld | napisy\ (stworzone|by) | субтитры
    """,
    re.IGNORECASE | re.VERBOSE,
)
_POLITE = frozenset(
    {
        "you",
        "thank you",
        "bye",
        "okay",
        "merci",
        "merci d avoir regardé cette vidéo",
        "au revoir",
        "vielen dank",
        "gracias",
        "grazie",
        "obrigado",
    }
)
_WORDS = re.compile(r"\w+")


def no_speech(text: str, score: float, no_speech_probability: float) -> bool:
    """Whether to discard `text` because it is probably not speech.

    `score` is its mean log-probability per token; `no_speech_probability` is the decoder's probability of no speech.
    """
    if score < HOPELESS_SCORE or (score < DOUBTFUL_SCORE and no_speech_probability > DOUBTFUL_NO_SPEECH):
        return True
    words = _words(text)
    if not words or _CREDITS.search(text):
        return True
    return " ".join(words) in _POLITE and (score < DOUBTFUL_SCORE or no_speech_probability > DOUBTFUL_NO_SPEECH)


def loops(text: str) -> bool:
    """Whether the text repeats the same few words again and again."""
    return _loop(_words(text)) is not None


def echoes(text: str) -> bool:
    """Whether the text has the same sentence twice in a row."""
    words = _words(text)
    return any(
        words[at : at + size] == words[at + size : at + 2 * size]
        for size in range(_ECHO_WORDS, len(words) // 2 + 1)
        for at in range(len(words) - 2 * size + 1)
    )


def unloop(text: str) -> str:
    """Remove the repetitions of the first loop. Text without a loop is returned unchanged."""
    found = _loop(_words(text))
    if found is None:
        return text
    words = list(_WORDS.finditer(text))
    return text[: words[found[0] + found[1] - 1].end()].strip()


def _loop(words: Sequence[str]) -> tuple[int, int] | None:
    """The index of the first loop's first word, and the number of words that repeat. None if there is no loop."""
    for size in range(1, min(_LONGEST, len(words) // 2) + 1):
        times = next(times for least, times in reversed(_LOOPS) if size >= least)
        for at in range(len(words) - size * times + 1):
            if all(words[at : at + size] == words[at + n * size : at + (n + 1) * size] for n in range(1, times)):
                return at, size
    return None


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.lower())

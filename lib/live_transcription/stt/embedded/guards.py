# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What Whisper says that nobody said: loops, text for noise, and the credits of the films it was trained on. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Mean log-probability per token and probability of no speech at which a text is for noise (the first two together, or the
#: third alone). Speech was seen at -0.9 and above, noise at -1.1 and below with 0.6 and more.
DOUBTFUL_SCORE = -1.0
DOUBTFUL_NO_SPEECH = 0.6
HOPELESS_SCORE = -1.6

#: Words of an n-gram, and how often in a row it makes a loop.
_LOOPS = ((1, 5), (2, 4), (3, 3))
_LONGEST = 24
#: A sentence of so many words said twice in a row is what a too short encoder window gives; people do it, too.
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
    """Whether to say nothing rather than `text`, by how sure the decoder was of it."""
    if score < HOPELESS_SCORE or (score < DOUBTFUL_SCORE and no_speech_probability > DOUBTFUL_NO_SPEECH):
        return True
    words = _words(text)
    if not words or _CREDITS.search(text):
        return True
    return " ".join(words) in _POLITE and (score < DOUBTFUL_SCORE or no_speech_probability > DOUBTFUL_NO_SPEECH)


def loops(text: str) -> bool:
    """The same few words again and again."""
    return _loop(_words(text)) is not None


def echoes(text: str) -> bool:
    """A whole sentence twice in a row."""
    words = _words(text)
    return any(
        words[at : at + size] == words[at + size : at + 2 * size]
        for size in range(_ECHO_WORDS, len(words) // 2 + 1)
        for at in range(len(words) - 2 * size + 1)
    )


def unloop(text: str) -> str:
    """`text` up to and including the first round of its loop; as it is where there is none."""
    found = _loop(_words(text))
    if found is None:
        return text
    words = list(_WORDS.finditer(text))
    return text[: words[found[0] + found[1] - 1].end()].strip()


def _loop(words: Sequence[str]) -> tuple[int, int] | None:
    """Where the first loop begins and how many words a round has."""
    for size in range(1, min(_LONGEST, len(words) // 2) + 1):
        times = next(times for least, times in reversed(_LOOPS) if size >= least)
        for at in range(len(words) - size * times + 1):
            if all(words[at : at + size] == words[at + n * size : at + (n + 1) * size] for n in range(1, times)):
                return at, size
    return None


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.lower())

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The words of the handmade weights (`sandbox.moshi_server.weights`) for the stand-ins: the same audio, the same words."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import numpy as np

from live_transcription.types import Frame
from sandbox.moshi_server.weights import POISON_LEVEL, TWO_PIECES, WORDS, loudness
from sandbox.stt_servers.words import FRAME_S, HeardWord, WordSource, WordSources

_LOUDNESS = np.array([loudness(level) for level in range(POISON_LEVEL + 1)])
#: Frames after the first one of a word until it is out: its token, the pause after it; and the second piece of some words.
_PIECE_FRAMES = 2


class LoudWords(WordSource):
    """A word for each burst of sound after silence; its second frame chooses the word, or else its first."""

    def __init__(self) -> None:
        self._levels = [0]
        self._words: list[HeardWord] = []

    @property
    def settled_s(self) -> float:
        return (len(self._levels) - 1) * FRAME_S

    def feed(self, frame: Frame) -> None:
        level = int(np.argmin(np.abs(_LOUDNESS - np.abs(frame).mean())))
        *_, before, start = (0, *self._levels)
        self._levels.append(level)
        chosen = level or start
        if start and not before and chosen != POISON_LEVEL:
            word = WORDS[chosen - 1]
            place = len(self._levels) - 3
            frames = _PIECE_FRAMES + (word in TWO_PIECES)
            # A little more than the frame's start, and less than its end, so that rounding moves it to no other frame.
            self._words.append(HeardWord(word, (place + 0.01) * FRAME_S, (place + frames - 0.01) * FRAME_S))

    def take_words(self, until_s: float) -> list[HeardWord]:
        taken = [word for word in self._words if word.end_s <= until_s]
        self._words = [word for word in self._words if word.end_s > until_s]
        return taken


def loud_words() -> WordSources:
    @contextlib.asynccontextmanager
    async def open_source(_settled: Callable[[], None]) -> AsyncIterator[WordSource]:
        yield LoudWords()

    return open_source

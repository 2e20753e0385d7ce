# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Sources of a session's words: words with times, and the time up to which they are final.

The stand-ins take any source: a script (`ScriptedWords`), a known recording found again in the audio
(`sandbox.stt_servers.located`), or real transcription (`sandbox.stt_servers.transcribed`).
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TypeAlias

from live_transcription.types import SAMPLE_RATE, Frame
from sandbox.recording import Recording, Utterance

#: Samples in one step of Kyutai's models (80 ms at 24 kHz, 12.5 steps a second).
FRAME_SAMPLES = 1920
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word, cased and punctuated, without spaces around it; times in seconds of the session's audio."""

    text: str = field(repr=False)
    start_s: float
    end_s: float


class WordSource(ABC):
    """One session's ear. Frames go in, words come out in order, each once."""

    @property
    @abstractmethod
    def settled_s(self) -> float:
        """Every word that ends before this second of the session's audio is known; `inf` where nothing has to be waited for."""

    @abstractmethod
    def feed(self, frame: Frame) -> None:
        """The session's next frame (float32, 24 kHz mono, `FRAME_SAMPLES` samples). Returns at once."""

    @abstractmethod
    def take_words(self, until_s: float) -> list[HeardWord]:
        """The words not taken yet that end at or before `until_s`."""


#: Opens a source for a session; the callable it is given is to be called whenever `settled_s` has moved.
WordSources: TypeAlias = Callable[[Callable[[], None]], AbstractAsyncContextManager[WordSource]]


class ScriptedWords(WordSource):
    """Words at fixed seconds of the session's audio, whatever the audio is."""

    def __init__(self, words: Iterable[HeardWord]) -> None:
        self._left = sorted(words, key=lambda word: word.end_s)

    @property
    def settled_s(self) -> float:
        return math.inf

    def feed(self, frame: Frame) -> None:
        pass

    def take_words(self, until_s: float) -> list[HeardWord]:
        count = next((place for place, word in enumerate(self._left) if word.end_s > until_s), len(self._left))
        taken, self._left = self._left[:count], self._left[count:]
        return taken


def scripted(words: Sequence[HeardWord]) -> WordSources:
    """Each session gets the same script from its start."""

    @contextlib.asynccontextmanager
    async def open_source(_settled: Callable[[], None]) -> AsyncIterator[WordSource]:
        yield ScriptedWords(words)

    return open_source


def evenly(text: str, *, start_s: float = 0.4, word_s: float = 0.32) -> list[HeardWord]:
    """A script out of a text: its words one after the other, each `word_s` long, the first from `start_s` on."""
    return [
        HeardWord(text=word, start_s=start_s + place * word_s, end_s=start_s + (place + 1) * word_s)
        for place, word in enumerate(text.split())
    ]


def words_of(recording: Recording) -> list[HeardWord]:
    """A recording's words; the sidecar gives times of stretches of speech, so letters stand for time within them."""
    return [word for utterance in recording.utterances for word in words_of_utterance(utterance)]


def words_of_utterance(utterance: Utterance) -> list[HeardWord]:
    """As `words_of`, of one utterance."""
    words: list[HeardWord] = []
    texts = utterance.text.split()
    speech_s = sum(end - start for start, end in utterance.speech)
    letters = sum(len(text) + 1 for text in texts)
    spoken = 0
    for text in texts:
        begin = spoken / letters * speech_s
        spoken += len(text) + 1
        words.append(
            HeardWord(
                text=text,
                start_s=_place(utterance.speech, begin, at_start=True),
                end_s=_place(utterance.speech, spoken / letters * speech_s, at_start=False),
            )
        )
    return words


def _place(speech: Sequence[tuple[float, float]], spoken_s: float, *, at_start: bool) -> float:
    """Where in the recording `spoken_s` seconds of speech are over; on a border a word begins in the later stretch."""
    for start, end in speech:
        length = end - start
        if spoken_s < length - 1e-6 or (not at_start and spoken_s <= length + 1e-6):
            return min(start + spoken_s, end)
        spoken_s -= length
    return speech[-1][1]

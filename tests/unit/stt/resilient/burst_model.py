# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A word stream without a network whose words have a length, so that a cut within a word shows.

A word is a burst of samples of value (number + 1) / 1000, with silence around it. As a moshi-server does, the model emits a
word 0.48 s of audio after the word's second frame, and names the first frame as its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from live_transcription.transcript import Flushed, Hypothesis, SttEvent, Token
from live_transcription.types import SAMPLE_RATE, Frame
from tests.unit.stt.kyutai.kyutai_model import DELAY, FRAME, KyutaiModel, WordStream

Times = Literal["none", "start", "start and end"]
#: Silence after which the model detects a pause, and audio after which it emits it.
_PAUSE = 6 * FRAME


@dataclass
class _Burst:
    number: int
    start: int
    end: int | None = None


def burst(number: int, frames: int, gap: int) -> list[Frame]:
    """A word of so many frames, and the silence after it."""
    return [np.full(FRAME, (number + 1) / 1000, np.float32)] * frames + [np.zeros(FRAME, np.float32)] * gap


class BurstModel(KyutaiModel):
    """`heard`: the least number of samples of a word's burst from which the model recognises the word.

    `word_times`: what a word's token says of them. `pauses`: whether it emits them.
    """

    def __init__(self, *, heard: int, word_times: Times = "start", pauses: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.heard = heard
        self.word_times = word_times
        self.pauses = pauses

    def stream(self) -> WordStream:
        return _HypothesisBursts(self) if self.whole else _Bursts(self)


class _Bursts(WordStream):
    _model: BurstModel

    def __init__(self, model: BurstModel) -> None:
        super().__init__(model)
        self._bursts: list[_Burst] = []
        self._level = -1
        self._last = _Burst(-1, 0, 0)
        self._pending = False

    async def send(self, frame: Frame) -> None:
        levels = np.rint(frame * 1000).astype(int) - 1
        before = np.concatenate([[self._level], levels[:-1]])
        for offset in map(int, np.flatnonzero(levels != before)):
            at, level = self._received + offset, int(levels[offset])
            if self._level >= 0:
                self._last.end = at
            if level >= 0:
                self._last = _Burst(level, at)
                self._bursts.append(self._last)
            self._level = level
        await super().send(np.zeros_like(frame))

    def recognise(self, position: int) -> None:
        flush = position > self._received - DELAY
        while self._bursts and (flush or self._due(self._bursts[0]) <= position):
            word = self._bursts[0]
            if word.end is None and flush and self._level >= 0:
                word.end = self._received
            self._bursts.pop(0)
            end = self._received if word.end is None else word.end
            if end - word.start >= self._model.heard:
                start_s = word.start // FRAME * FRAME / SAMPLE_RATE if self._model.word_times != "none" else None
                end_s = end / SAMPLE_RATE if self._model.word_times == "start and end" else None
                self._pending = True
                self.emit(Token(f"w{word.number}", True, start_s, end_s), 0)
        if not flush:
            self._pause()
            position -= 2 * FRAME
        self._loop.call_later(self._model.latency_s, self._acknowledge, position)

    def _due(self, word: _Burst) -> float:
        if self._model.word_times == "start and end":
            return float("inf") if word.end is None else max(word.end, word.start + 2 * FRAME)
        return word.start + 2 * FRAME

    def _pause(self) -> None:
        silent_since = self._last.end
        paused = not self._bursts and silent_since is not None and self._received >= silent_since + 2 * _PAUSE
        if self._model.pauses and self._pending and paused:
            self._pending = False
            self.pause()

    async def flush(self) -> None:
        self._pending = False
        await super().flush()


class _HypothesisBursts(_Bursts):
    """Like the embedded engine: emits the whole utterance again and again, with a final one at a flush."""

    def __init__(self, model: BurstModel) -> None:
        super().__init__(model)
        self._text: list[str] = []

    @property
    def acknowledged_s(self) -> float | None:
        return None

    def emit(self, event: SttEvent | None, acknowledged: int) -> None:
        match event:
            case Token(text=text):
                self._text.append(text)
                event = Hypothesis(" ".join(self._text), False)
            case Flushed() | None if self._text:
                super().emit(Hypothesis(" ".join(self._text), True, 0.0, acknowledged / SAMPLE_RATE), acknowledged)
                self._text = []
        super().emit(event, acknowledged)

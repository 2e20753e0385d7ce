# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A word stream without a network, which recognises words that a test has written into the audio.

A word is one sample of value (number + 1) / 1000 at its end; everything else is silence. Like Kyutai's model it emits a word
after 0.48 s more of audio. What it has emitted but the network still carries is lost when the connection breaks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np

from live_transcription.errors import SttError, SttUnavailable
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.transcript import Flushed, Hypothesis, Pause, Restarted, SttEvent, Token
from live_transcription.types import SAMPLE_RATE, Frame

FRAME = 1920
FRAME_S = FRAME / SAMPLE_RATE
DELAY = round(0.48 * SAMPLE_RATE)


def speech(first: int, words: int, *, frames_per_word: int = 5) -> list[Frame]:
    """Audio of `words` words, numbered from `first`, one every 0.4 s by default."""
    frames = []
    for word in range(words):
        for position in range(frames_per_word):
            frame = np.zeros(FRAME, np.float32)
            if position == frames_per_word - 1:
                frame[FRAME // 2] = (first + word + 1) / 1000
            frames.append(frame)
    return frames


def silence(seconds: float) -> list[Frame]:
    return [np.zeros(FRAME, np.float32)] * round(seconds / FRAME_S)


class KyutaiModel(SttBackend):
    """`failure(now)`: the error for a connection that is opened now, or None. `opening_s(now)`: how long opening takes.

    `break_at`: times at which every connection breaks.
    `mute`: start and end of the time in which words are lost, but nothing else.
    `rate`: seconds of audio that a stream transcribes per second.
    `acknowledges`: whether streams report `acknowledged_s`.
    `spell`: the token of a word, without its time. `times`: whether words have times.
    """

    name = "kyutai"
    languages = frozenset({"en", "fr"})

    def __init__(
        self,
        *,
        failure: Callable[[float], SttError | None] = lambda now: None,
        opening_s: Callable[[float], float] = lambda now: 0.3,
        break_at: tuple[float, ...] = (),
        break_error: Callable[[], SttError] = lambda: SttUnavailable("broke"),
        acknowledges: bool = True,
        latency_s: float = 0.1,
        replaceable_after_s: float = float("inf"),
        whole: bool = False,
        mute: tuple[float, float] = (0.0, 0.0),
        rate: float = float("inf"),
        spell: Callable[[int], Token] = lambda word: Token(f"w{word}", True),
        times: bool = True,
    ) -> None:
        self.failure = failure
        self.opening_s = opening_s
        self.break_at = break_at
        self.break_error = break_error
        self.acknowledges = acknowledges
        self.latency_s = latency_s
        self.replaceable_after_s = replaceable_after_s
        self.whole = whole
        self.mute = mute
        self.rate = rate
        self.spell = spell
        self.times = times
        self.attempts: list[float] = []
        self.opened: list[float] = []
        self.open = 0
        self.received = 0
        self.warmed: list[float] = []

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        loop = asyncio.get_running_loop()
        self.attempts.append(loop.time())
        await asyncio.sleep(self.opening_s(loop.time()))
        if (error := self.failure(loop.time())) is not None:
            raise error
        self.opened.append(loop.time())
        stream = self.stream()
        breaks = [loop.call_at(at, stream.break_now) for at in self.break_at if at > loop.time()]
        self.open += 1
        try:
            yield stream
        finally:
            self.open -= 1
            for handle in breaks:
                handle.cancel()

    def stream(self) -> WordStream:
        return _HypothesisStream(self) if self.whole else WordStream(self)

    async def warm(self) -> None:
        now = asyncio.get_running_loop().time()
        self.warmed.append(now)
        if (error := self.failure(now)) is not None:
            raise error


class WordStream(SttStream):
    """One connection of the model."""

    def __init__(self, model: KyutaiModel) -> None:
        self._model = model
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._loop.time()
        self._arriving: asyncio.Queue[SttEvent | SttError | None] = asyncio.Queue()
        self._wire: deque[tuple[SttEvent | None, int]] = deque()
        self._broken = False
        self._received = 0
        self._acknowledged = 0
        self._words: list[tuple[int, int]] = []
        self._busy_until = 0.0

    @property
    def acknowledged_s(self) -> float | None:
        return self._acknowledged / SAMPLE_RATE if self._model.acknowledges else None

    @property
    def replaceable(self) -> bool:
        return self._loop.time() - self._opened_at >= self._model.replaceable_after_s

    def break_now(self) -> None:
        self._broken = True
        self._arriving.put_nowait(self._model.break_error())

    def emit(self, event: SttEvent | None, acknowledged: int) -> None:
        # Timers due at the same moment run in any order; the wire keeps the order.
        self._wire.append((event, acknowledged))
        self._loop.call_later(self._model.latency_s, self._arrive)

    def _arrive(self) -> None:
        event, acknowledged = self._wire.popleft()
        muted = isinstance(event, Token) and self._model.mute[0] <= self._loop.time() < self._model.mute[1]
        if not self._broken and not muted:
            self._acknowledged = max(self._acknowledged, acknowledged)
            self._arriving.put_nowait(event)

    async def send(self, frame: Frame) -> None:
        await asyncio.sleep(0)
        if self._broken:
            raise self._model.break_error()
        self._model.received += len(frame)
        for offset in np.flatnonzero(frame):
            self._words.append((self._received + int(offset), round(float(frame[offset]) * 1000) - 1))
        self._received += len(frame)
        self._busy_until = max(self._busy_until, self._loop.time()) + len(frame) / SAMPLE_RATE / self._model.rate
        self._work(self.recognise, self._received - DELAY)

    def _work(self, work: Callable[..., None], *arguments: object) -> None:
        """Do some work when the work before it is done."""
        if self._busy_until <= self._loop.time():
            work(*arguments)
        else:
            self._loop.call_at(self._busy_until, work, *arguments)

    def recognise(self, position: int) -> None:
        while self._words and self._words[0][0] < position:
            at, word = self._words.pop(0)
            start_s = at / SAMPLE_RATE if self._model.times else None
            self.emit(replace(self._model.spell(word), start_s=start_s), at + 1)
        self._loop.call_later(self._model.latency_s, self._acknowledge, position)

    def _acknowledge(self, position: int) -> None:
        if not self._broken:
            self._acknowledged = max(self._acknowledged, position)

    async def flush(self) -> None:
        self._work(self.recognise, self._received + 1)
        self._work(self.emit, Flushed(), self._received)

    async def end(self) -> None:
        self._work(self.recognise, self._received + 1)
        self._work(self.emit, None, self._received)

    def pause(self) -> None:
        self.emit(Pause(), max(0, self._received - DELAY))

    async def events(self) -> AsyncIterator[SttEvent]:
        while (event := await self._arriving.get()) is not None:
            if isinstance(event, SttError):
                raise event
            yield event


class _HypothesisStream(WordStream):
    """Like the embedded engine: emits the whole utterance again and again, with a final one at a flush."""

    def __init__(self, model: KyutaiModel) -> None:
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


class Captions:
    """A reader's view of the events: words that stand, and words that may be retracted (see `transcript`)."""

    def __init__(self) -> None:
        self.closed: list[int] = []
        self.open: list[int] = []
        self.restarts = 0
        self.shown_at: dict[int, float] = {}

    def feed(self, event: SttEvent, now: float) -> None:
        match event:
            case Token(text=text):
                self.open.append(int(text.strip()[1:]))
                self.shown_at.setdefault(self.open[-1], now)
            case Hypothesis(text=text, final=final):
                self.open = [int(word[1:]) for word in text.split()]
                for word in self.open:
                    self.shown_at.setdefault(word, now)
                if final:
                    self.close()
            case Restarted():
                self.restarts += 1
                self.open = []
            case Pause() | Flushed():
                self.close()

    def close(self) -> None:
        self.closed += self.open
        self.open = []

    @property
    def words(self) -> list[int]:
        return self.closed + self.open

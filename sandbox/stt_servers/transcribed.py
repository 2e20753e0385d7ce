# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Words from real transcription: another engine transcribes, and its growing hypotheses become final words.

The stand-ins' model waits for them (`settled_s`), so that words, steps and markers keep their order; a stand-in on a CPU is
slower than a GPU, never wrong about the order. Times are those of the utterance, shared out by letters.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import itertools
import re
from collections.abc import AsyncIterator, Callable

from live_transcription.stt.base import Flushed, Hypothesis, SttBackend, SttStream
from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.gate import Detector, Flush, GateLimits, SilenceGate, Speech
from sandbox.stt_servers.words import FRAME_S, HeardWord, WordSource, WordSources

_GATE = GateLimits(hangover_s=0.4, close_s=3600.0)

#: Seconds without a frame after which the client has fallen silent in the middle of speech.
_STALLED_S = 1.0

#: Speech counts once it has lasted a while: how far behind the audio silence is certain.
_ONSET_S = 0.2

#: A guess stays if the next one agrees with it, or if so many seconds follow on it.
_AGED_S = 1.2

#: Frames that wait for the engine; beyond it (two minutes) the session's audio is lost to it.
_QUEUE = 1500

_NOT_LETTERS = re.compile(r"[\W_]+")


class TranscribedWords(WordSource):
    """One session's ear. `pump` and `read` are its two tasks."""

    def __init__(self, detector: Detector, settled: Callable[[], None]) -> None:
        self._gate = SilenceGate(detector, _GATE)
        self._settled_callback = settled
        self._frames: asyncio.Queue[Frame] = asyncio.Queue(_QUEUE)
        self.dropped_frames = 0
        self._heard_s = 0.0
        self._sent_s = 0.0
        self._pieces: list[tuple[float, float]] = []
        self._flushes_due = 0
        self._utterance_s: float | None = None
        self._guess: list[str] = []
        self._said: list[str] = []
        self._said_until_s = 0.0
        self._words: list[HeardWord] = []

    @property
    def settled_s(self) -> float:
        if self._utterance_s is None:
            return self._heard_s - _ONSET_S
        return max(self._utterance_s, self._said_until_s)

    def feed(self, frame: Frame) -> None:
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.dropped_frames += 1

    def take_words(self, until_s: float) -> list[HeardWord]:
        taken = [word for word in self._words if word.end_s <= until_s]
        self._words = [word for word in self._words if word.end_s > until_s]
        return taken

    async def pump(self, stream: SttStream) -> None:
        while True:
            try:
                async with asyncio.timeout(_STALLED_S if self._gate.speaking else None):
                    frame = await self._frames.get()
            except TimeoutError:
                actions = self._gate.stalled()
            else:
                actions = self._gate.push(frame)
                self._heard_s += len(frame) / SAMPLE_RATE
            for action in actions:
                if isinstance(action, Speech):
                    self._begin(sum(len(piece) for piece in action.frames) / SAMPLE_RATE)
                    for piece in action.frames:
                        await stream.send(piece)
                elif isinstance(action, Flush):
                    self._flushes_due += 1
                    await stream.flush()
            self._settled_callback()

    async def read(self, stream: SttStream) -> None:
        async for event in stream.events():
            if isinstance(event, Hypothesis):
                self._take(event)
            elif isinstance(event, Flushed):
                self._flushes_due -= 1
                if not self._flushes_due and not self._gate.speaking:
                    self._utterance_s = None
            self._settled_callback()

    def _begin(self, length_s: float) -> None:
        """Speech of this length, which ends now, goes to the engine next."""
        begin_s = self._heard_s - length_s
        if self._utterance_s is None:
            self._utterance_s = begin_s
        last = self._pieces[-1] if self._pieces else None
        if last is None or abs(last[1] + self._sent_s - last[0] - begin_s) > FRAME_S / 2:
            self._pieces.append((self._sent_s, begin_s))
        self._sent_s += length_s

    def _session_s(self, engine_s: float) -> float:
        """The engine hears speech only: where in the session's audio its second lies."""
        for sent_s, begin_s in reversed(self._pieces):
            if engine_s >= sent_s:
                return begin_s + engine_s - sent_s
        return engine_s

    def _take(self, event: Hypothesis) -> None:
        words = event.text.split()
        start_s = self._session_s(event.start_s) if event.start_s is not None else self._utterance_s or 0.0
        end_s = self._session_s(event.end_s) if event.end_s is not None else self._heard_s
        timed = _share_out(words, start_s, max(end_s, start_s))
        if event.final:
            self._say(timed, len(timed))
            self._guess, self._said = [], []
            self._said_until_s = max(self._said_until_s, end_s)
            if self._utterance_s is not None:
                self._utterance_s = max(self._utterance_s, end_s)
            return
        begin = _where_it_goes_on(self._said, words)
        before = self._guess[_where_it_goes_on(self._said, self._guess) :]
        agreed = begin + _common(before, words[begin:])
        aged = sum(word.end_s <= end_s - _AGED_S for word in timed)
        self._say(timed, min(max(agreed, aged), len(words) - 1))
        self._guess = words

    def _say(self, timed: list[HeardWord], count: int) -> None:
        """The first `count` words of the hypothesis stay; those said before are not said again."""
        begin = _where_it_goes_on(self._said, [word.text for word in timed])
        for word in timed[begin:count]:
            end_s = max(word.end_s, self._said_until_s)
            self._words.append(HeardWord(word.text, min(max(word.start_s, self._said_until_s), end_s), end_s))
            self._said.append(word.text)
            self._said_until_s = end_s


def transcribed(backend: Callable[[], SttBackend], language: str, detector: Callable[[], Detector]) -> WordSources:
    """`backend` is asked for when the first session begins, and shared by all."""
    shared: list[SttBackend] = []

    @contextlib.asynccontextmanager
    async def open_source(settled: Callable[[], None]) -> AsyncIterator[WordSource]:
        if not shared:
            shared.append(backend())
        async with shared[0].open_stream(language) as stream:
            words = TranscribedWords(detector(), settled)
            tasks = [asyncio.create_task(words.pump(stream)), asyncio.create_task(words.read(stream))]
            try:
                yield words
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    return open_source


def _share_out(words: list[str], start_s: float, end_s: float) -> list[HeardWord]:
    letters = sum(len(word) + 1 for word in words) or 1
    timed: list[HeardWord] = []
    spoken = 0
    for word in words:
        begin = start_s + spoken / letters * (end_s - start_s)
        spoken += len(word) + 1
        timed.append(HeardWord(word, begin, start_s + spoken / letters * (end_s - start_s)))
    return timed


def _plain(word: str) -> str:
    return _NOT_LETTERS.sub("", word).casefold()


def _common(one: list[str], other: list[str]) -> int:
    """How many words both begin with; case and punctuation aside."""
    return sum(1 for _ in itertools.takewhile(lambda pair: _plain(pair[0]) == _plain(pair[1]), zip(one, other, strict=False)))


def _where_it_goes_on(said: list[str], words: list[str]) -> int:
    """The index in `words` of the first word after those that were sent, though the engine may reword them.

    Letters are compared, for "ill disposed" may come back as "ill-disposed".
    """
    before = "".join(_plain(word) for word in said)
    now = "".join(_plain(word) for word in words)
    blocks = difflib.SequenceMatcher(a=before, b=now, autojunk=False).get_matching_blocks()
    last = [block for block in blocks if block.size][-1:]
    reached = last[0].b + len(before) - last[0].a if last else len(before)
    letters = 0
    for index, word in enumerate(words):
        length = len(_plain(word))
        if letters + length / 2 >= reached:
            return index
        letters += length
    return len(words)

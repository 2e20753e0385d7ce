# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""An engine for simple speech: each burst of sound is a word, and the word is the number of the burst."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import numpy as np

from live_transcription.errors import SttModelError
from live_transcription.stt.base import Hints
from live_transcription.stt.embedded.recogniser import RATE, Recogniser, Samples
from live_transcription.types import SAMPLE_RATE, Frame

#: Length in seconds of a word and of the gap after it.
WORD_S = 0.24
GAP_S = 0.12


def words(count: int, first: int = 1) -> Frame:
    """Words as 24 kHz mono float32; word n is a tone of 200 + 20 n Hz."""
    pieces = []
    for n in range(first, first + count):
        time = np.arange(round(WORD_S * SAMPLE_RATE)) / SAMPLE_RATE
        pieces += [0.3 * np.sin(2 * np.pi * (200 + 20 * n) * time), np.zeros(round(GAP_S * SAMPLE_RATE))]
    return np.concatenate(pieces).astype(np.float32)


def silence(seconds: float) -> Frame:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def frames(samples: Frame, length: int = 1920) -> Iterator[Frame]:
    for at in range(0, len(samples), length):
        yield samples[at : at + length]


def spell(samples: Samples) -> str:
    """The numbers of the words in 16 kHz audio; half a word at a cut is spelt all the same, so that a loss shows twice."""
    hop = RATE // 100
    loud = np.square(samples[: len(samples) // hop * hop]).reshape(-1, hop).mean(axis=1) > 1e-3
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    said = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < 3:
            continue
        word = samples[start * hop : end * hop]
        spectrum = np.abs(np.fft.rfft(word * np.hanning(len(word)), 4 * RATE))
        said.append(str(round((int(spectrum.argmax()) / 4 - 200) / 20)))
    return " ".join(said)


class FakeEngine:
    """`hold` makes decodes wait until it is set; `fail` makes the finals of such texts fail."""

    name = "fake"
    languages = frozenset({"en", "fr"})

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.hold.set()
        self.fail: Callable[[str], bool] = lambda _: False
        self.hints = Hints()
        self.load_error: SttModelError | None = None
        self.loads = 0
        self.loaded = False
        self.decodes: list[tuple[str, str]] = []
        self.running = 0
        self.most_running = 0
        self._lock = threading.Condition()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Until something about its decodes holds; raises AssertionError if it does not come to that in 10 s."""

        def wait() -> bool:
            with self._lock:
                return self._lock.wait_for(condition, 10.0)

        assert await asyncio.to_thread(wait)

    def load(self, workers: int, threads: int) -> None:
        if self.load_error is not None:
            raise self.load_error
        self.loads += 1
        self.loaded = True

    def unload(self) -> None:
        self.loaded = False

    def recogniser(self, language: str, hints: Hints = Hints()) -> Recogniser:  # noqa: B008
        self.hints = hints
        return FakeRecogniser(self)

    def decode(self, kind: str, samples: Samples) -> str:
        with self._lock:
            self.running += 1
            self._lock.notify_all()
            self.most_running = max(self.most_running, self.running)
        try:
            assert self.hold.wait(10.0)
            text = spell(samples)
            with self._lock:
                self.decodes.append((kind, text))
                self._lock.notify_all()
            if kind == "final" and self.fail(text):
                raise RuntimeError("decode failed on purpose")
            return text
        finally:
            with self._lock:
                self.running -= 1


class FakeRecogniser:
    language: str | None = None

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    def partial(self, samples: Samples, abandoned: Callable[[], bool]) -> str | None:
        text = self._engine.decode("partial", samples)
        return None if abandoned() else text or None

    def final(self, samples: Samples) -> str:
        return self._engine.decode("final", samples)

    def restart(self) -> None:
        pass

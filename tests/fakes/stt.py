# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A speech-to-text backend that a test controls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from live_transcription.errors import SttError
from live_transcription.languages import CHOICES
from live_transcription.status import EngineState
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.kyutai.modal.budget import GpuBudget
from live_transcription.transcript import Flushed, Hypothesis, SttEvent
from live_transcription.types import SAMPLE_RATE, Frame, Language
from sandbox.caller import ReceivedCaption


def rest(caption: ReceivedCaption) -> bool:
    """Whether a caption of a `FakeStream` contains the words that are committed only at the end of the utterance."""
    return "begins" in caption.text


class FakeStream(SttStream):
    """Emits the same hypothesis twice at the first audio, and a final one at each flush.

    `never_ends`: the events do not end after `end()`. `busy`: the stream has not caught up.
    """

    def __init__(self, language: str, ordinal: int) -> None:
        self.language = language
        self.ordinal = ordinal
        self.frames: list[Frame] = []
        #: Samples that were marked as speech.
        self.speech = 0
        self._marked = False
        self.flushes = 0
        self.closed = False
        self.never_ends = False
        self.busy = False
        self.emitted: asyncio.Queue[SttEvent | SttError | None] = asyncio.Queue()

    @property
    def acknowledged_s(self) -> float:
        return sum(len(frame) for frame in self.frames) / SAMPLE_RATE

    @property
    def caught_up(self) -> bool:
        return not self.busy

    def mark_speech(self, active: bool) -> None:
        self._marked = active

    async def send(self, frame: Frame) -> None:
        self.speech += len(frame) * self._marked
        if not self.frames:
            for _ in range(2):
                self.emitted.put_nowait(Hypothesis(f"speech {self.ordinal} begins", final=False))
        self.frames.append(frame)

    async def flush(self) -> None:
        self.flushes += 1
        self.emitted.put_nowait(Hypothesis(f"speech {self.ordinal} begins and ends {self.flushes}", final=True))
        self.emitted.put_nowait(Flushed())

    async def end(self) -> None:
        if not self.never_ends:
            self.emitted.put_nowait(None)

    async def events(self) -> AsyncIterator[SttEvent]:
        while (event := await self.emitted.get()) is not None:
            if isinstance(event, SttError):
                raise event
            yield event


class FakeBackend(SttBackend):
    """Keeps its streams for the test to inspect. `refuse` may raise when a stream is opened; `prepare` gets each new one."""

    name = "fake"
    languages = frozenset({"en", "fr"})
    #: In a long utterance it is silent for longer than a server may be.
    remote = False

    def __init__(self) -> None:
        self.streams: list[FakeStream] = []
        self.refuse: Callable[[], None] = lambda: None
        self.prepare: Callable[[FakeStream], None] = lambda stream: None

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        self.refuse()
        stream = FakeStream(language, len(self.streams) + 1)
        self.prepare(stream)
        self.streams.append(stream)
        try:
            yield stream
        finally:
            stream.closed = True


class FakeRegistry:
    """Replaces `stt.engines.SttRegistry`: one fake backend for all languages."""

    #: Speakers that the engines can serve at the same time; None: not known.
    capacity: int | None = None

    def __init__(self) -> None:
        self.fake = FakeBackend()
        self.budget = GpuBudget()

    def backend(self) -> SttBackend:
        return self.fake

    def languages(self) -> Mapping[str, Language]:
        return {code: CHOICES[code] for code in ("en", "fr", "auto")}

    def engines(self) -> tuple[str, ...]:
        return (self.fake.name,)

    def health(self) -> tuple[EngineState, ...]:
        return (EngineState(self.fake.name, "up"),)

    def note(self, name: str, error: SttError | None) -> None: ...

    async def aclose(self) -> None:
        return

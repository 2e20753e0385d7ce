# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A speaker and the reader of one stream: sends words to a backend, and records the final words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from live_transcription.errors import SttError
from live_transcription.stt.base import Flushed, Pause, Restarted, SttBackend, SttEvent, SttStream, Token
from live_transcription.types import SAMPLE_RATE, Frame
from sandbox.stt_servers.words import FRAME_SAMPLES

#: As long as any step of a test may take on a busy machine, in seconds.
PATIENCE_S = 60.0
#: Multiple of real time at which audio is said, about as fast as a server with one slot works on two idle cores.
SPEED = 2.5


class Listener:
    """`events` as they came. `words`: those of the open utterance are dropped at a restart, as captions do."""

    def __init__(self, stream: SttStream) -> None:
        self.stream = stream
        self.events: list[SttEvent] = []
        self.words: list[str] = []
        self.failure: SttError | None = None
        self.ended = False
        self._closed = 0
        self._news = asyncio.Event()

    @property
    def tokens(self) -> list[Token]:
        return [event for event in self.events if isinstance(event, Token)]

    def count(self, kind: type[SttEvent]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    async def say(self, audio: Frame, speed: float = SPEED, *, speech: bool = False) -> None:
        """Send audio at a multiple of real time. `speech`: what the voice detector finds in all of it."""
        self.stream.mark_speech(speech)
        clock = asyncio.get_running_loop().time
        began = clock()
        for start in range(0, len(audio), FRAME_SAMPLES):
            await self.stream.send(audio[start : start + FRAME_SAMPLES])
            await asyncio.sleep(max(0.0, began + (start + FRAME_SAMPLES) / SAMPLE_RATE / speed - clock()))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for news until the condition holds. Raises TimeoutError, or the stream's error."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                if self.failure is not None:
                    raise self.failure
                assert not self.ended, "the stream ended"
                self._news.clear()
                await self._news.wait()

    async def until_words(self, count: int) -> None:
        await self.until(lambda: len(self.words) >= count)

    async def finish(self, after: int = 0) -> None:
        """End the stream once so many words stand, and wait for its last word.

        The engines give up a flush after 1.5 s, which happens on a busy machine. Where a test is not about the flush, it lets
        silence follow the words and waits for all of them.
        """
        await self.until_words(after)
        await self.stream.end()
        async with asyncio.timeout(PATIENCE_S):
            while not self.ended:
                self._news.clear()
                await self._news.wait()
        if self.failure is not None:
            raise self.failure

    async def run(self) -> None:
        try:
            async for event in self.stream.events():
                self.events.append(event)
                match event:
                    case Token(text=text):
                        self.words.append(text)
                    case Restarted():
                        del self.words[self._closed :]
                    case Flushed() | Pause():
                        self._closed = len(self.words)
                self._news.set()
        except SttError as error:
            self.failure = error
        finally:
            self.ended = True
            self._news.set()


@asynccontextmanager
async def listening(backend: SttBackend) -> AsyncIterator[Listener]:
    async with backend.open_stream("en") as stream:
        listener = Listener(stream)
        reading = asyncio.create_task(listener.run())
        try:
            yield listener
        finally:
            reading.cancel()
            await asyncio.wait([reading])

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Has one engine transcribe a recording, to test whether it works."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from live_transcription.errors import SttError
from live_transcription.runtime.tasks import owned_task
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.transcript import Hypothesis, SttEvent, Token, WordSpacing
from live_transcription.types import SAMPLE_RATE, Frame

#: Multiple of real time at which the recording is sent.
_SPEED = 2.0
#: Seconds after the end of the recording within which its words must arrive.
WORDS_S = 20.0
_CHUNK = SAMPLE_RATE * 80 // 1000


async def probe_speech(
    backend: SttBackend, speech: Frame, language: str, *, opened: Callable[[], None], on_text: Callable[[str], None]
) -> str:
    """Transcribe `speech` (float32, 24 kHz mono) and return the text, which is empty if no words arrive in time.

    `opened` is called when the engine has accepted a stream, which may take minutes (a cold start), and `on_text` with the
    whole text whenever it changes. Raises SttError.
    """
    text = _Text()
    async with backend.open_stream(language) as stream:
        opened()
        async with owned_task(_send(stream, speech), "probe speech"):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(len(speech) / SAMPLE_RATE / _SPEED + WORDS_S):
                    async for event in stream.events():
                        if text.add(event):
                            on_text(text.whole())
    return text.whole()


async def _send(stream: SttStream, speech: Frame) -> None:
    with contextlib.suppress(SttError):  # the reader of the events gets the same error
        for start in range(0, len(speech), _CHUNK):
            await stream.send(speech[start : start + _CHUNK])
            await asyncio.sleep(_CHUNK / SAMPLE_RATE / _SPEED)
        await stream.flush()
        await stream.end()


class _Text:
    def __init__(self) -> None:
        self._spacing = WordSpacing()
        self._closed = ""
        self._open = ""

    def add(self, event: SttEvent) -> bool:
        """Take an event. Returns whether the text has changed."""
        before = self.whole()
        if isinstance(event, Token):
            self._spacing.observe(event)
            self._closed += self._spacing.spaced(event)
        elif isinstance(event, Hypothesis):
            self._open = "" if event.final else event.text
            if event.final:
                self._closed += f" {event.text}"
        return self.whole() != before

    def whole(self) -> str:
        return " ".join(f"{self._closed} {self._open}".split())

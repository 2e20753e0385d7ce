# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Has one engine transcribe a recording, to see whether it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from live_transcription.errors import SttError
from live_transcription.runtime.tasks import owned_task
from live_transcription.stt.base import Hypothesis, SttBackend, SttEvent, SttStream, Token
from live_transcription.types import SAMPLE_RATE, Frame

#: Multiple of real time at which the recording is sent.
_SPEED = 2.0
#: Seconds after the recording in which its words have to come.
WORDS_S = 20.0
_CHUNK = SAMPLE_RATE * 80 // 1000


async def probe_speech(
    backend: SttBackend, speech: Frame, language: str, *, opened: Callable[[], None], heard: Callable[[str], None]
) -> str:
    """The text. `opened` is called once the engine has taken a stream, which may take minutes (a cold start); `heard` with the
    text as it grows.

    `speech`: float32, 24 kHz mono. Raises SttError; words that never come are no error, but an empty text.
    """
    text = _Text()
    async with backend.open_stream(language) as stream:
        opened()
        async with owned_task(_send(stream, speech), "probe speech"):
            try:
                async with asyncio.timeout(len(speech) / SAMPLE_RATE / _SPEED + WORDS_S):
                    async for event in stream.events():
                        if text.take(event):
                            heard(text.whole())
            except TimeoutError:
                pass
    return text.whole()


async def _send(stream: SttStream, speech: Frame) -> None:
    try:
        for start in range(0, len(speech), _CHUNK):
            await stream.send(speech[start : start + _CHUNK])
            await asyncio.sleep(_CHUNK / SAMPLE_RATE / _SPEED)
        await stream.flush()
        await stream.end()
    except SttError:
        return  # the events raise it too, to the one who can tell


class _Text:
    def __init__(self) -> None:
        self._closed = ""
        self._open = ""

    def take(self, event: SttEvent) -> bool:
        """Whether the text has changed."""
        before = self.whole()
        if isinstance(event, Token):
            joint = "" if event.starts_word is False or event.text[:1].isspace() or not self._closed else " "
            self._closed += joint + event.text
        elif isinstance(event, Hypothesis):
            self._open = "" if event.final else event.text
            if event.final:
                self._closed = f"{self._closed} {event.text}".strip()
        return self.whole() != before

    def whole(self) -> str:
        return f"{self._closed} {self._open}".strip()

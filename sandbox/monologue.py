# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One speaker of the engine without WebRTC and signaling: PCM in, in real time, and committed words out.

In the loop of `sandbox.virtual_clock` an hour takes seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.errors import SttError
from live_transcription.speaker.captioner import Captioner
from live_transcription.speaker.transcriber import Transcriber
from live_transcription.stt.base import SttBackend
from live_transcription.transcript import Utterance
from live_transcription.types import SAMPLE_RATE, Caption, Frame
from live_transcription.vad.detector import voice_activity_detector
from live_transcription.vad.gate import Detector, SilenceGate
from sandbox.caller import ReceivedCaption
from sandbox.word_error_rate import normalise

FRAME = SAMPLE_RATE * 80 // 1000
FRAME_S = FRAME / SAMPLE_RATE
#: As in the engine's settings: audio held while the transcriber is busy.
_QUEUE_S = 10.0


class Monologue:
    """`async with` listens; leaving it lets the last words come. `captions`: committed words, with times of
    the loop's clock; `utterances`: those that have ended.
    """

    def __init__(
        self,
        backend: SttBackend,
        language: str = "en",
        *,
        name: str = "speaker-1",
        detector: Detector | None = None,
        on_caption: Callable[[Caption], None] | None = None,
        on_utterance: Callable[[Utterance], None] | None = None,
    ) -> None:
        self.captions: list[ReceivedCaption] = []
        self.errors: list[SttError] = []
        self.frames = FrameQueue(_QUEUE_S)
        self.gate = SilenceGate(detector or voice_activity_detector())
        self._name = name
        self._on_caption = on_caption
        self._on_utterance = on_utterance
        self.utterances: list[Utterance] = []
        self._captioner = Captioner(name, language, self._captioned, self._ended)
        self.transcriber = Transcriber(self.frames, self.gate, backend, self._captioner, language, on_error=self.errors.append)
        self._task: asyncio.Task[None] | None = None
        self._next_at: float | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.transcriber.run(), name=f"transcribe {self._name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        if error is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        else:
            await self.hang_up()
        self._captioner.close()

    async def hang_up(self) -> None:
        """End the audio, as if the speaker left. Returns when the engine has released the speaker."""
        assert self._task is not None
        self.transcriber.close()
        await self._task

    async def say(self, pcm: Frame) -> float:
        """Audio (float32, 24 kHz mono) at the pace of the clock; the moment at which its first sample was spoken.

        A rest under one frame is left out.
        """
        loop = asyncio.get_running_loop()
        if self._next_at is None or self._next_at < loop.time():
            self._next_at = loop.time()
        began = self._next_at
        for start in range(0, len(pcm) - FRAME + 1, FRAME):
            self._next_at += FRAME_S
            await asyncio.sleep(self._next_at - loop.time())
            self.frames.put(pcm[start : start + FRAME])
        return began

    async def hush(self, seconds: float) -> float:
        """Silence that is sent."""
        return await self.say(np.zeros(round(seconds * SAMPLE_RATE), np.float32))

    @property
    def text(self) -> str:
        """All committed words."""
        return " ".join(caption.text for caption in self.captions)

    def shown_at(self, words: int, language: str = "en") -> list[float]:
        """When each of the first words was committed."""
        times = [caption.at for caption in self.captions for _ in normalise(caption.text, language)]
        return times[:words]

    def _ended(self, utterance: Utterance) -> None:
        self.utterances.append(utterance)
        if self._on_utterance is not None:
            self._on_utterance(utterance)

    def _captioned(self, caption: Caption) -> None:
        at = asyncio.get_running_loop().time()
        self.captions.append(ReceivedCaption(at, caption.speaker, caption.text, caption.language, final=True))
        if self._on_caption is not None:
            self._on_caption(caption)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A backend whose streams outlive the connections below them (`stt.resilient.stream`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import Random

from live_transcription.audio_store.budget import AudioBudget
from live_transcription.audio_store.codec import BlockCodec
from live_transcription.audio_store.ring import AudioRing
from live_transcription.runtime.tasks import owned_task
from live_transcription.stt.base import Hints, SpeakerBackend, SttBackend, SttStream
from live_transcription.stt.resilient.retry import ResiliencePolicy, RetryLog
from live_transcription.stt.resilient.stream import ResilientStream


class ResilientBackend(SttBackend):
    """A backend on top of another one. Its streams open at once, and raise only errors that a retry cannot repair.

    `codec` and `budget` are for buffered audio (see `audio_store.ring`).
    """

    def __init__(
        self,
        backend: SttBackend,
        *,
        policy: ResiliencePolicy | None = None,
        random: Random | None = None,
        codec: BlockCodec | None = None,
        budget: AudioBudget | None = None,
    ) -> None:
        self.name = backend.name
        self.languages = backend.languages
        self._backend = backend
        self._policy = policy or ResiliencePolicy()
        self._random = random or Random()
        self._codec = codec
        self._budget = budget
        self._log = RetryLog()

    def for_speaker(self, hints: Hints = Hints()) -> SttBackend:  # noqa: B008  frozen
        return SpeakerBackend(self, partial(self._open, hints=hints))

    def open_stream(self, language: str) -> AbstractAsyncContextManager[SttStream]:
        """Open a stream without waiting for a connection; the first one is opened when there is audio."""
        return self._open(language, Hints())

    @asynccontextmanager
    async def _open(self, language: str, hints: Hints) -> AsyncIterator[SttStream]:
        ring = AudioRing(self._policy.ring_s, codec=self._codec, budget=self._budget)
        stream = ResilientStream(self._backend.for_speaker(hints), language, self._policy, self._random, ring, self._log)
        try:
            async with owned_task(stream.run(), "stt connections"):
                yield stream
        finally:
            ring.close()

    async def warm(self) -> None:
        await self._backend.warm()

    async def aclose(self) -> None:
        await self._backend.aclose()

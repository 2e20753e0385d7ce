# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The speech-to-text backend on this machine's CPU. All speakers share one model and a few decoding threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from live_transcription.config import EmbeddedConfig
from live_transcription.errors import SttAtCapacity, SttModelError
from live_transcription.stt.base import Hints, SpeakerBackend, SttBackend, SttStream
from live_transcription.stt.embedded.pool import DecodePacing, DecodePool
from live_transcription.stt.embedded.recogniser import Engine
from live_transcription.stt.embedded.stream import EmbeddedStream


class EmbeddedBackend(SttBackend):
    """Opens streams of one engine. The engine is loaded for the first stream or by `warm`, and stays loaded until `aclose`.

    An instance belongs to one event loop.
    """

    remote = False

    def __init__(self, engine: Engine, config: EmbeddedConfig) -> None:
        self.name = engine.name
        self.languages = engine.languages
        self._engine = engine
        self._config = config
        self._pool: DecodePool | None = None
        self._loading = asyncio.Lock()

    async def warm(self) -> None:
        """Load the weights, which takes about a second. Raises SttModelError if they cannot be loaded."""
        await self._loaded()

    def for_speaker(self, hints: Hints = Hints()) -> SttBackend:  # noqa: B008  frozen
        return SpeakerBackend(self, partial(self._open, hints=hints))

    def open_stream(self, language: str) -> AbstractAsyncContextManager[SttStream]:
        """Open a stream for one speaker.

        Raises SttModelError if the weights cannot be loaded or the engine does not support `language`, and SttAtCapacity if
        twice as many people talk as `capacity` allows, which happens when a remote engine fails.
        """
        return self._open(language, Hints())

    @asynccontextmanager
    async def _open(self, language: str, hints: Hints) -> AsyncIterator[SttStream]:
        if language not in self.languages:
            raise SttModelError(
                "The engine '{engine}' does not support the language '{language}'.",
                fix="Choose another language, or name a multilingual Whisper model.",
                engine=self.name,
                language=language,
            )
        pool = await self._loaded()
        stream = EmbeddedStream(pool, self._engine.recogniser(language, hints))
        if not pool.expect(stream):
            raise SttAtCapacity(
                "This machine can transcribe {limit} speakers at the same time.",
                fix="Give the app more CPU cores, or configure a speech-to-text server.",
                limit=pool.capacity,
            )
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(stream.work(), name="embedded speech-to-text")
            try:
                yield stream
            finally:
                work.cancel()
                pool.forget(stream)

    @property
    def capacity(self) -> int:
        return self._pool.capacity if self._pool is not None else DecodePacing(0.0, self._config.slots).capacity

    async def aclose(self) -> None:
        async with self._loading:
            if self._pool is not None:
                await self._pool.aclose()
                self._pool = None
                self._engine.unload()

    async def _loaded(self) -> DecodePool:
        async with self._loading:
            if self._pool is None:
                pool = DecodePool(self._config.slots, self._config.hypothesis_interval_s)
                try:
                    await pool.in_thread(lambda: self._engine.load(self._config.slots, self._config.threads))
                except BaseException:
                    await pool.aclose()
                    raise
                self._pool = pool
            return self._pool

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Kyutai's streaming model on Modal's serverless GPUs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from live_transcription.config import ModalConfig
from live_transcription.errors import SttError, SttStarting
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.kyutai.handshake import open_response, open_websocket
from live_transcription.stt.kyutai.modal.protocol import ModalSession
from live_transcription.stt.kyutai.websocket_stream import WebsocketStream
from live_transcription.texts import Text

_SERVICE = Text("Kyutai on Modal")
#: Seconds for which a container is known to be up after it was woken, so that asking again is pointless.
_WARM_FOR_S = 30.0
#: Seconds between two requests to a container that is starting.
_ASK_AGAIN_S = 2.0


class ModalBackend(SttBackend):
    """Streams of one deployment. Opening one takes as long as a container takes to start, up to `open_timeout_s`."""

    name = "modal"
    languages = frozenset({"en", "fr"})

    def __init__(self, config: ModalConfig) -> None:
        self._config = config
        self._warming = asyncio.Lock()
        self._warm_until = float("-inf")
        self._open = 0

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        """Open a stream. The model detects by itself whether it hears English or French, so `language` is not sent."""
        del language
        now = asyncio.get_running_loop().time
        async with open_websocket(self._config, _SERVICE) as connection:
            session = ModalSession(now(), rotate_after_s=self._config.rotate_after_s)
            self._open += 1
            try:
                yield WebsocketStream(connection, session)
            finally:
                self._open -= 1

    async def warm(self) -> None:
        """Start a container and wait until it is up, unless one is known to be up. Concurrent callers share the wait."""
        clock = asyncio.get_running_loop().time
        async with self._warming:
            if self._open or clock() < self._warm_until:
                return
            deadline = clock() + self._config.open_timeout_s
            while (error := await self._check_health()) is not None:
                if not isinstance(error, SttStarting) or clock() + _ASK_AGAIN_S >= deadline:
                    raise error
                await asyncio.sleep(_ASK_AGAIN_S)
            self._warm_until = clock() + _WARM_FOR_S

    async def _check_health(self) -> SttError | None:
        try:
            async with open_response(self._config, self._config.health_url, _SERVICE):
                return None
        except SttError as error:
            return error

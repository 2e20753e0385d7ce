# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Kyutai's streaming model on an administrator's own moshi-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from live_transcription.config import MoshiConfig
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.kyutai.handshake import open_websocket
from live_transcription.stt.kyutai.moshi.protocol import MoshiSession
from live_transcription.stt.kyutai.websocket_stream import WebsocketStream
from live_transcription.texts import Text

_SERVICE = Text("The moshi-server")


class MoshiBackend(SttBackend):
    """Streams of one server."""

    name = "moshi"
    languages = frozenset({"en", "fr"})

    def __init__(self, config: MoshiConfig) -> None:
        self._config = config

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        """Open a stream. The model detects by itself whether it hears English or French, so `language` is not sent.

        Raises SttAtCapacity if the server has no free slot.
        """
        del language
        now = asyncio.get_running_loop().time
        async with open_websocket(self._config, _SERVICE) as connection:
            stream = WebsocketStream(connection, MoshiSession(now()))
            await stream.ready()
            yield stream

    async def warm(self) -> None:
        """Open a session and wait until the model is ready. Raises SttError.

        Only a session shows a wrong key, a full server and a dead model: the server's HTTP pages answer in all three cases.
        """
        async with self.open_stream("en"):
            pass

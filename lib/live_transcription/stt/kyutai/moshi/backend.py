# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Kyutai's streaming model on an administrator's own moshi-server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from live_transcription.config import MoshiConfig
from live_transcription.languages import AUTO
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.kyutai.handshake import open_websocket
from live_transcription.stt.kyutai.moshi.protocol import MoshiSession
from live_transcription.stt.kyutai.steps import SPOKEN
from live_transcription.stt.kyutai.websocket_stream import WebsocketStream
from live_transcription.texts import Text

_SERVICE = Text("The moshi-server")
#: Seconds to wait for the first step of a probe before a marker is sent.
_STEP_S = 2.0


class MoshiBackend(SttBackend):
    """Streams of one server."""

    name = "moshi"
    languages = SPOKEN | {AUTO}

    def __init__(self, config: MoshiConfig) -> None:
        self._config = config

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        """Open a stream. The model detects by itself whether it hears English or French, so `language` is not sent.

        Raises SttAtCapacity if the server has no free slot.
        """
        del language
        async with self._open() as (stream, _):
            yield stream

    async def warm(self) -> None:
        """Open a session and wait until the model has transcribed silence. Raises SttError.

        Only a session shows a wrong key, a full server, a dead model and a model that the app cannot use: the server's HTTP
        pages answer in all cases.
        """
        clock = asyncio.get_running_loop().time
        async with self._open() as (stream, session):
            # A healthy server answers at once. Otherwise a marker distinguishes a slow model from one that sends no steps.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STEP_S):
                    await stream.transmit(session.silence(clock()))
                    await stream.receive_until(lambda: session.stepped)
            if not session.stepped:
                await stream.transmit(session.probe(clock()))
                await stream.receive_until(lambda: session.stepped)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[WebsocketStream, MoshiSession]]:
        async with open_websocket(self._config, _SERVICE) as connection:
            session = MoshiSession(asyncio.get_running_loop().time())
            stream = WebsocketStream(connection, session)
            await stream.receive_until(lambda: session.ready)
            yield stream, session

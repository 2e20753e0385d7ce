# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Kyutai's streaming model on an administrator's own moshi-server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from live_transcription.config import MoshiConfig
from live_transcription.errors import SttAtCapacity, SttProtocolError
from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.kyutai.handshake import open_response, open_websocket
from live_transcription.stt.kyutai.moshi.protocol import MoshiSession
from live_transcription.stt.kyutai.websocket_stream import WebsocketStream

_SERVICE = "The moshi-server"
#: Maximum number of bytes of the modules page that are read.
_ANSWER_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Slots:
    """Number of a server's sessions: open now, and possible at once."""

    used: int
    total: int


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
        """Check that the server is up and has a free slot. Raises SttError if not."""
        slots = await self.slots()
        if slots is not None and slots.used >= slots.total:
            raise SttAtCapacity(
                f"All {slots.total} slots of the moshi-server are in use.",
                fix="Increase its batch size, or run another server.",
            )

    async def slots(self) -> Slots | None:
        """The slots of all modules together, from `/api/modules_info`; None if the page mentions none. Raises SttError."""
        body = b""
        async with open_response(self._config, self._config.modules_url, _SERVICE) as response:
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _ANSWER_LIMIT:
                    break
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            raise SttProtocolError(
                "The server at the configured address is not a moshi-server.", fix="Check the address."
            ) from None
        modules = list(_modules(answer, depth=8))
        return Slots(sum(module.used for module in modules), sum(module.total for module in modules)) if modules else None


def _modules(answer: object, depth: int) -> Iterator[Slots]:
    """Find the objects with used and total slots, however the answer nests its modules."""
    if depth == 0:
        return
    if isinstance(answer, dict):
        used, total = answer.get("used_slots"), answer.get("total_slots")
        if isinstance(used, int) and isinstance(total, int):
            yield Slots(used, total)
            return
        answer = list(answer.values())
    if isinstance(answer, list):
        for item in answer:
            yield from _modules(item, depth - 1)

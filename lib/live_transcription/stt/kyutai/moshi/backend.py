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
from live_transcription.stt.http import get
from live_transcription.stt.kyutai.moshi.protocol import MoshiSession
from live_transcription.stt.kyutai.websocket_stream import WebsocketStream, open_session
from live_transcription.stt.metrics import SttStatistics

_SERVICE = "The moshi-server"
#: Largest answer of the modules page that is read, in bytes.
_ANSWER_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Slots:
    """Sessions that the server has and can have at once."""

    used: int
    total: int


class MoshiBackend(SttBackend):
    """Streams of one server."""

    name = "moshi"
    languages = frozenset({"en", "fr"})

    def __init__(self, config: MoshiConfig, *, statistics: SttStatistics | None = None) -> None:
        self.statistics = statistics or SttStatistics()
        self._config = config

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        """The model hears by itself whether it is English or French. Raises SttAtCapacity when no slot is free."""
        del language
        now = asyncio.get_running_loop().time
        async with open_session(self._config, _SERVICE, self.statistics) as connection:
            stream = WebsocketStream(connection, MoshiSession(now(), ignored=self.statistics.ignored), self.statistics)
            await stream.ready()
            yield stream

    async def warm(self) -> None:
        """Ask whether the server is up and has a slot free; raises SttError where not."""
        slots = await self.slots()
        if slots is not None and slots.used >= slots.total:
            raise SttAtCapacity(
                f"All {slots.total} slots of the moshi-server are taken.", fix="Give it a larger batch size, or run another."
            )

    async def slots(self) -> Slots | None:
        """What `/api/modules_info` tells of the server's slots, all modules together; None where it tells none."""
        body = b""
        async with get(self._config, self._config.modules_url, _SERVICE) as response:
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _ANSWER_LIMIT:
                    break
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            raise SttProtocolError(
                "The address of the moshi-server answers with something else.", fix="Check the address."
            ) from None
        modules = list(_modules(answer, depth=8))
        return Slots(sum(module.used for module in modules), sum(module.total for module in modules)) if modules else None


def _modules(answer: object, depth: int) -> Iterator[Slots]:
    """Wherever the answer nests its modules: objects that tell used and total slots."""
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

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The engines in force as one backend, for calls that outlive a change of the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from live_transcription.stt.base import SttBackend, SttStream
from live_transcription.stt.engines import SttRegistry


class _Use:
    def __init__(self) -> None:
        self.streams = 0
        self.idle = asyncio.Event()
        self.idle.set()


class CurrentBackend(SttBackend):
    """Streams open at the engines of now; those that are open stay with the engines that they began with. Owns all of them."""

    def __init__(self, registry: SttRegistry, *, prewarm: bool = True) -> None:
        self._uses: dict[SttRegistry, _Use] = {}
        self._closed_socket_s = 0.0
        self._take(registry, prewarm)

    def _take(self, registry: SttRegistry, prewarm: bool) -> None:
        self.registry = registry
        self._prewarm = prewarm
        self._uses[registry] = _Use()
        self.languages = frozenset(registry.languages())
        self.name = "+".join(registry.engines()) or "none"

    def replace(self, registry: SttRegistry, *, prewarm: bool) -> SttRegistry:
        """From now on these engines; the old ones, to be given to `retire`."""
        old = self.registry
        self._take(registry, prewarm)
        return old

    async def retire(self, old: SttRegistry) -> None:
        """Close replaced engines once the last of their streams has ended."""
        await self._uses[old].idle.wait()
        del self._uses[old]
        self._closed_socket_s += old.statistics.socket_s(self._now())
        await old.aclose()

    @asynccontextmanager
    async def open_stream(self, language: str) -> AsyncIterator[SttStream]:
        registry = self.registry
        use = self._uses[registry]
        use.streams += 1
        use.idle.clear()
        try:
            async with registry.backend().open_stream(language) as stream:
                yield stream
        finally:
            use.streams -= 1
            if not use.streams:
                use.idle.set()

    async def warm(self) -> None:
        """Nothing where the settings say that engines start at the first word; no engine at all raises SttModelError."""
        backend = self.registry.backend()
        if self._prewarm:
            await backend.warm()

    def socket_s(self) -> float:
        """Seconds of connections to remote engines so far, of all settings; see `SttStatistics.socket_s`."""
        return self._closed_socket_s + sum(registry.statistics.socket_s(self._now()) for registry in self._uses)

    async def aclose(self) -> None:
        for registry in list(self._uses):
            await registry.aclose()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

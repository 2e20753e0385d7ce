# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A decode pool of the embedded engine for `sandbox.virtual_clock`: decodes take virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from live_transcription.stt.embedded.pool import DecodePool, Priority, Result


class VirtualPool(DecodePool):
    """Results are computed in the event loop. `cost_s` is called after that, and returns the seconds that the decode takes."""

    def __init__(self, slots: int, interval_s: float, cost_s: Callable[[Priority], float]) -> None:
        super().__init__(slots, interval_s, clock=lambda: asyncio.get_running_loop().time())
        self._cost_s = cost_s

    def _start(self, priority: Priority, job: Callable[[], Result]) -> asyncio.Future[Result]:
        return asyncio.ensure_future(self._decode(priority, job))

    async def _decode(self, priority: Priority, job: Callable[[], Result]) -> Result:
        try:
            return job()
        finally:
            await asyncio.sleep(self._cost_s(priority))

    def later(self, job: Callable[[], None]) -> None:
        job()

    async def aclose(self) -> None:
        self._executor.shutdown()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Sends warnings and errors to Nextcloud's log, where administrators look first. Logging never waits for Nextcloud."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from ex_app.errors import NextcloudError
from ex_app.nextcloud.gateway import NextcloudGateway
from live_transcription.observability.logging import Redactor

#: Maximum number of buffered lines; when it is exceeded, the oldest is dropped and counted.
QUEUE = 100
#: Seconds between two lines.
INTERVAL_S = 0.5
#: Seconds before another attempt when Nextcloud has not accepted a line.
PAUSE_S = 30.0
_LONGEST = 2000
#: Loggers of requests to Nextcloud: their lines would cause more requests.
_EXCLUDED = {"nc_py_api", "niquests", "urllib3", "urllib3_future", "ex_app.nextcloud.gateway"}


class NextcloudLog(logging.Handler):
    """Buffers records from any thread; `run` sends them."""

    def __init__(
        self,
        nextcloud: NextcloudGateway,
        redactor: Redactor,
        *,
        level: int = logging.WARNING,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(level)
        self._nextcloud = nextcloud
        self._redactor = redactor
        self._sleep = sleep
        self._lines: deque[tuple[int, str]] = deque(maxlen=QUEUE)
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        if {record.name, record.name.split(".")[0]} & _EXCLUDED:
            return
        text = self._redactor.redact(f"{record.name}: {record.getMessage()}")[:_LONGEST]
        if len(self._lines) == QUEUE:
            self.dropped += 1
        # Python's levels are multiples of 10, from DEBUG to CRITICAL; Nextcloud's are 0 to 4.
        self._lines.append((max(0, min(4, record.levelno // 10 - 1)), text))
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Send the lines until cancelled. A line that Nextcloud does not accept is sent again after a pause."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                if not self._lines:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                level, text = self._lines[0]
                try:
                    await self._nextcloud.log(level, text)
                except NextcloudError:
                    await self._sleep(PAUSE_S)
                    continue
                if self._lines and self._lines[0] == (level, text):
                    self._lines.popleft()
                await self._sleep(INTERVAL_S)
        finally:
            self._loop = None

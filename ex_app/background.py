# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Background work, by name, in the TaskGroup of the application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

#: Seconds before work that failed unexpectedly is restarted.
RESTART_S = 2.0


class Background:
    """Runs at most one piece of work per name, between `start` and `stop`."""

    def __init__(self) -> None:
        self._tasks: asyncio.TaskGroup | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    @property
    def is_open(self) -> bool:
        return self._tasks is not None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """`tasks` owns the work from now on."""
        self._tasks = tasks

    def stop(self) -> None:
        """Cancel all work, and start no other."""
        self._tasks = None
        for name in list(self._running):
            self.cancel(name)

    def run(self, name: str, work: Callable[[], Awaitable[None]], *, restart: bool = False) -> None:
        """Start the work, unless work of this name is running.

        An unexpected failure, such as a lack of memory, is logged, so that it ends neither calls nor requests. `restart`: the
        work then starts again.
        """
        if self._tasks is not None and name not in self._running:
            self._running[name] = task = self._tasks.create_task(_survive(name, work, restart=restart), name=name)
            task.add_done_callback(lambda ended: self._forget(name, ended))

    def cancel(self, name: str) -> None:
        """Cancel this work. It can be started again at once."""
        if task := self._running.pop(name, None):
            task.cancel()

    def _forget(self, name: str, ended: asyncio.Task[None]) -> None:
        if self._running.get(name) is ended:
            del self._running[name]


async def _survive(name: str, work: Callable[[], Awaitable[None]], *, restart: bool) -> None:
    while True:
        try:
            return await work()
        except Exception:
            logger.exception("Background work failed%s: %s", " and restarts" if restart else "", name)
        if not restart:
            return None
        await asyncio.sleep(RESTART_S)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Stores the running calls and their targets on disk, so that a restarted process takes them up by itself.

They are stored in one small JSON file in the app's persistent storage, replaced as a whole and readable by the app only. It
contains room tokens, session ids and user ids, and no speech. `stored_calls` describes its format.

Calls are stored while the app is enabled. When it is disabled or stopped, the current calls stay in the file and are taken up
when it is enabled again. An update disables the app, too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ex_app.engine import Engine
from ex_app.stored_calls import StoredCalls, UnreadableCalls, parse, replace_file, serialise
from live_transcription.observability.log_limit import LogLimit
from live_transcription.status import CallSnapshot

logger = logging.getLogger(__name__)

FILE_NAME = "calls.json"
#: Seconds between two checks of the calls.
LOOK_S = 2.0
#: Seconds after which unchanged calls are written again, so that the file's time says when they last ran.
FRESH_S = 60.0
#: Seconds after which stored calls count as over.
STALE_S = 900.0
_MAX_BYTES = 64 * 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def since_boot() -> tuple[str, float] | None:
    """The id of the machine's boot, and the seconds since then, which do not depend on the clock; None if unknown."""
    try:
        return _BOOT_ID.read_text("ascii").strip()[:64], time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, ValueError, AttributeError):
        return None


class CallKeeper:
    """`storage` None: nothing is stored. `wall_clock`: seconds since the epoch; `boot_clock`: like `since_boot`."""

    def __init__(
        self,
        engine: Engine,
        storage: Path | None,
        wall_clock: Callable[[], float],
        *,
        boot_clock: Callable[[], tuple[str, float] | None] = since_boot,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._path = None if storage is None else storage / FILE_NAME
        self._wall_clock = wall_clock
        self._boot_clock = boot_clock
        self._sleep = sleep
        self._log_limit = LogLimit(60.0, time.monotonic)
        #: Between `take_up` and `freeze` the file follows the calls.
        self._following = False
        self._stopped = False
        self._written: tuple[CallSnapshot, ...] | None = None
        self._written_at = 0.0
        # Writes run in threads, except the last one. The numbers keep an earlier write from replacing a later one.
        self._writing = threading.Lock()
        self._writes = 0
        self._last_write = 0

    async def run(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Take calls up whenever the app is enabled, and store them while it is. Runs until cancelled or stopped.

        `ready` returns once the app is enabled and its settings are known.
        """
        while not self._stopped:
            await ready()
            self.take_up()
            while self._following:
                await self._sleep(LOOK_S)
                await self._note()

    def take_up(self) -> None:
        """Restore the calls of the file, and follow the calls from now on."""
        if self._stopped:
            return
        if snapshots := self._read():
            logger.info("%d calls are taken up again", len(snapshots))
            self._engine.restore(snapshots)
        self._following = True

    async def leave_all(self, grace_s: float | None = None) -> None:
        """The app stops: store the current calls for the next start, then end them."""
        self._stopped = True
        self.freeze()
        await self._engine.leave_all(grace_s)

    def freeze(self) -> None:
        """Store the current calls, and keep them in the file until `take_up`, although they end."""
        if self._following:
            self._following = False
            calls = tuple(self._engine.export())
            if self._path is not None and (calls or self._written):
                self._writes += 1
                self._finish(self._write(self._path, calls, self._writes), calls)

    async def _note(self) -> None:
        if self._path is None or not self._following:
            return
        calls = tuple(self._engine.export())
        is_fresh = not calls or 0 <= self._wall_clock() - self._written_at < FRESH_S
        if calls == self._written and is_fresh:
            return
        self._writes += 1
        try:
            failure = await asyncio.to_thread(self._write, self._path, calls, self._writes)
        except RuntimeError as error:  # no memory for a thread
            failure = str(error)
        self._finish(failure, calls)

    def _write(self, path: Path, calls: tuple[CallSnapshot, ...], number: int) -> str:
        """Returns the reason of a failure, or ""."""
        content = serialise(StoredCalls(calls, self._wall_clock(), self._boot_clock()))
        with self._writing:
            if number < self._last_write:
                return ""
            self._last_write = number
            try:
                replace_file(path, content)
            except OSError as error:
                return error.strerror or type(error).__name__
        return ""

    def _finish(self, failure: str, calls: tuple[CallSnapshot, ...]) -> None:
        """Note the result of a write. After a failure the old file stays, and the next check tries again."""
        if not failure:
            self._written, self._written_at = calls, self._wall_clock()
        elif self._log_limit.permit() is not None:
            logger.warning(
                "The running calls cannot be stored (%s), so a restart would not take them up. Check the app's storage.",
                failure,
            )

    def _read(self) -> tuple[CallSnapshot, ...]:
        if self._path is None:
            return ()
        try:
            with self._path.open("rb") as file:
                stored = parse(file.read(_MAX_BYTES))
        except FileNotFoundError:
            return ()
        except (OSError, UnreadableCalls) as error:
            logger.warning("The stored calls cannot be read (%s), so no call is taken up again", error)
            return ()
        return stored.calls if abs(self._age_s(stored)) <= STALE_S else ()

    def _age_s(self, stored: StoredCalls) -> float:
        """Age by the time since boot if the boot is the same; else by the clock, which may have been set since."""
        boot = self._boot_clock()
        if boot is not None and stored.boot is not None and boot[0] == stored.boot[0] and boot[1] >= stored.boot[1]:
            return boot[1] - stored.boot[1]
        return self._wall_clock() - stored.at

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Stores today's estimated GPU time on Modal, since the daily limit also applies after a restart.

One small JSON file in the app's persistent storage, replaced as a whole:

    {"version": 1, "day": "2026-11-28" (UTC), "gpu_seconds": 1234.5}

Unknown fields are ignored, so a later version may add some.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ex_app.call_store import replace_file
from ex_app.engine import Engine
from live_transcription.observability.log_limit import LogLimit
from live_transcription.status import GpuUsage

logger = logging.getLogger(__name__)

FILE_NAME = "gpu_usage.json"
VERSION = 1
#: Seconds between two writes while a GPU runs: a crash loses as much at most.
SAVE_S = 15.0
_MAX_BYTES = 10_000
_EPOCH = datetime.date(1970, 1, 1).toordinal()


class GpuStore:
    """Reads the file once and updates it while the app runs. With `storage` None, nothing is stored."""

    def __init__(
        self, engine: Engine, storage: Path | None, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._engine = engine
        self._path = None if storage is None else storage / FILE_NAME
        self._sleep = sleep
        self._log_limit = LogLimit(60.0, time.monotonic)
        self._written: GpuUsage | None = None

    def restore(self) -> None:
        """Pass the stored usage to the engine, before the first call."""
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                usage = parse(file.read(_MAX_BYTES))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            reason = "malformed" if isinstance(error, ValueError) else error.strerror
            logger.warning("Today's stored GPU minutes cannot be read (%s), so the daily limit counts from zero", reason)
            return
        self._engine.restore_gpu_usage(usage)

    async def run(self) -> None:
        while True:
            await self._sleep(SAVE_S)
            self.save()

    def save(self) -> None:
        """Write the usage if it has changed."""
        usage = self._engine.gpu_usage()
        if self._path is None or usage == self._written or (self._written is None and not usage.seconds):
            return
        try:
            replace_file(self._path, serialise(usage))
        except OSError as error:
            if self._log_limit.permit() is not None:
                logger.warning(
                    "Today's GPU minutes cannot be stored (%s), so the daily limit would count from zero after a restart. "
                    "Check the app's storage.",
                    error.strerror or type(error).__name__,
                )
            return
        self._written = usage


def serialise(usage: GpuUsage) -> bytes:
    day = datetime.date.fromordinal(_EPOCH + usage.day).isoformat()
    return json.dumps({"version": VERSION, "day": day, "gpu_seconds": round(usage.seconds, 3)}).encode()


def parse(content: bytes) -> GpuUsage:
    """Raises ValueError."""
    try:
        found = json.loads(content)
        day = datetime.date.fromisoformat(found["day"]).toordinal() - _EPOCH
        seconds = float(found["gpu_seconds"])
    except (TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError("unknown format") from error
    if not 0 <= seconds <= 1e9:
        raise ValueError("not a duration")
    return GpuUsage(day, seconds)

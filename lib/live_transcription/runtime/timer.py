# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Timers that stay cheap with hundreds of speakers."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable

#: Periodic messages are sent at multiples of this, in seconds of the event loop's clock, so that one wake-up serves many peers.
SLOT_S = 0.25


class DeadlineTimer:
    """Call a function once, at the deadline that was set last.

    Deadlines are in the running event loop's time. Moving a deadline to a later time costs nothing, so it can be moved with
    every frame: the timer of the event loop stays as it is, and is set again when it fires.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._deadline: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, deadline: float | None) -> None:
        """Replace the deadline; None cancels it."""
        self._deadline = deadline
        if self._handle is not None:
            if deadline is not None and self._handle.when() <= deadline:
                return
            self._handle.cancel()
            self._handle = None
        if deadline is not None:
            self._schedule(deadline)

    def cancel(self) -> None:
        """Cancel the deadline, if there is one."""
        self.set(None)

    def _schedule(self, deadline: float) -> None:
        self._handle = asyncio.get_running_loop().call_at(deadline, self._fire, deadline)

    def _fire(self, scheduled: float) -> None:
        self._handle = None
        if self._deadline is not None and scheduled < self._deadline:
            self._schedule(self._deadline)
            return
        self._deadline = None
        self._callback()


def next_slot(now: float, between_s: tuple[float, float]) -> float:
    """Return the time of a random slot, `between_s` seconds from `now` plus up to `SLOT_S`."""
    return math.ceil((now + random.uniform(*between_s)) / SLOT_S) * SLOT_S

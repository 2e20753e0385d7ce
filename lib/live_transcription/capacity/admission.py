# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Admission by memory: how many streams and subscriptions may be added. Pure: `now` in seconds of any monotonic clock."""

from __future__ import annotations

import math
from collections import deque

from live_transcription.capacity.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.status import Condition

#: Shares of a memory limit: nothing is added above the first, until usage drops below the second.
FULL_SHARE = 0.80
CLEAR_SHARE = 0.75
#: Expected memory use in bytes: a speech-to-text stream, and a subscription.
SLOT_BYTES = 1 << 20
SUBSCRIPTION_BYTES = 256 << 10
#: Seconds until a reading includes what was added. Until then additions count on top, so many of them cannot share one reading.
SETTLE_S = 5.0

_MB = 1 << 20
#: What limits the memory, and what to do about it.
_TEXTS = {
    MemorySource.CONTAINER: (
        "limit of the container",
        "Give the container more memory, or lower the maximum number of speakers in the settings.",
    ),
    MemorySource.MACHINE: (
        "available on the machine",
        "Give the machine more memory, or lower the maximum number of speakers in the settings.",
    ),
    MemorySource.PROCESS: (
        "limit of the process, ulimit -v",
        "Raise this limit, or lower the maximum number of speakers in the settings.",
    ),
    MemorySource.SETTING: (
        "memory limit in the settings",
        "Raise the memory limit, or lower the maximum number of speakers in the settings.",
    ),
}


class Admission:
    """Applies every memory bound of the readings, and `max_memory` in bytes (0: no limit)."""

    def __init__(self, max_memory: int = 0) -> None:
        self._max_memory = max_memory
        self._tightest: MemoryBound | None = None
        self._memory_limit: int | None = None
        self._memory_full = False
        # Recent additions: time, and expected bytes; and the sum of the bytes.
        self._promised: deque[tuple[float, int]] = deque()
        self._promised_bytes = 0

    def limit(self, max_memory: int) -> None:
        """Set `max_memory`, from the next reading on."""
        self._max_memory = max_memory

    @property
    def tightest(self) -> MemoryBound | None:
        """The bound that is reached first; None: no limit is known."""
        return self._tightest

    @property
    def memory_limit(self) -> int | None:
        """The smallest limit in bytes, however much of it is used; None: no limit is known."""
        return self._memory_limit

    @property
    def memory_is_short(self) -> bool:
        return self._memory_full

    def observe(self, reading: MemoryReading, now: float) -> None:
        """A new reading, about once a second."""
        bounds = [*reading.bounds]
        if self._max_memory:
            bounds.append(MemoryBound(MemorySource.SETTING, reading.resident, self._max_memory))
        self._tightest = max(bounds, key=lambda bound: bound.share, default=None)
        self._memory_limit = min((bound.limit for bound in bounds), default=None)
        self._weigh(now)

    def room(self, size: int, now: float) -> float:
        """How many units of `size` bytes may be added now; infinite where no limit is known."""
        self._weigh(now)
        if self._tightest is None:
            return math.inf
        if self._memory_full:
            return 0
        return max(0, math.ceil((FULL_SHARE * self._tightest.limit - self._expected()) / size))

    def promise(self, size: int, now: float) -> None:
        """Reserve bytes for additions that readings do not include before `SETTLE_S`."""
        if size > 0:
            self._promised.append((now, size))
            self._promised_bytes += size

    def shortages(self, consequence: str = "") -> tuple[Condition, ...]:
        """The current conditions, for an administrator. `consequence`: whole sentences."""
        if not self._memory_full or (bound := self._tightest) is None:
            return ()
        limit, fix = _TEXTS[bound.source]
        condition = Condition.of(
            "memory",
            "Memory is low: {used} of {limit} MB are in use ({source}). No new speech-to-text streams start until usage drops "
            "below {share} %. Running captions continue.",
            fix,
            addition=consequence,
            used=str(_mb(bound.used)),
            limit=str(_mb(bound.limit)),
            source=limit,
            share=f"{CLEAR_SHARE:.0%}".rstrip("%"),
        )
        return (condition,)

    def _weigh(self, now: float) -> None:
        while self._promised and now - self._promised[0][0] >= SETTLE_S:
            self._promised_bytes -= self._promised.popleft()[1]
        if self._tightest is None:
            self._memory_full = False
            return
        share = self._expected() / self._tightest.limit
        self._memory_full = share >= (CLEAR_SHARE if self._memory_full else FULL_SHARE)

    def _expected(self) -> int:
        used = 0 if self._tightest is None else self._tightest.used
        return used + self._promised_bytes


def _mb(size: int) -> int:
    return round(size / _MB)

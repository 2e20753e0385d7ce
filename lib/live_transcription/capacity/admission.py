# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Admission: how many calls, streams and subscriptions memory and file descriptors allow. Pure: `now` in seconds of any
monotonic clock.

Both resources work alike: `observe` takes a reading about once a second, `room` answers how many units may be added, and
`promise` reserves what was added until readings include it, so that many additions cannot share one reading.
"""

from __future__ import annotations

import math
from collections import deque

from live_transcription.capacity.descriptors import DescriptorReading, reserve
from live_transcription.capacity.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.errors import OutOfDescriptors
from live_transcription.status import Condition
from live_transcription.texts import Text, template

#: Shares of a memory limit: nothing is added above the first, until usage drops below the second.
FULL_SHARE = 0.80
CLEAR_SHARE = 0.75
#: Expected memory use in bytes: a speech-to-text stream, and a subscription.
SLOT_BYTES = 1 << 20
SUBSCRIPTION_BYTES = 256 << 10
#: Descriptors of a call: its websocket to the HPB, and for a moment a second one or a connection to a name server.
CALL_DESCRIPTORS = 2
#: Descriptors of a speaker: UDP sockets (one per local address, one per TURN server), and a speech-to-text connection.
SPEAKER_DESCRIPTORS = 6
#: Seconds until a reading includes what was added.
SETTLE_S = 5.0

_MB = 1 << 20
#: What limits the memory, and what to do about it.
_TEXTS = {
    MemorySource.CONTAINER: (
        template("limit of the container"),
        template("Give the container more memory, or lower the maximum number of speakers in the settings."),
    ),
    MemorySource.MACHINE: (
        template("available on the machine"),
        template("Give the machine more memory, or lower the maximum number of speakers in the settings."),
    ),
    MemorySource.PROCESS: (
        template("limit of the process, ulimit -v"),
        template("Raise this limit, or lower the maximum number of speakers in the settings."),
    ),
    MemorySource.SETTING: (
        template("memory limit in the settings"),
        template("Raise the memory limit, or lower the maximum number of speakers in the settings."),
    ),
}


class _Promises:
    """Additions that readings do not include yet."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, amount: int, now: float) -> None:
        if amount > 0:
            self._recent.append((now, amount))
            self._sum += amount

    def at(self, now: float) -> int:
        while self._recent and now - self._recent[0][0] >= SETTLE_S:
            self._sum -= self._recent.popleft()[1]
        return self._sum


class MemoryAdmission:
    """Applies every memory bound of the readings, and `max_memory` in bytes (0: no limit)."""

    def __init__(self, max_memory: int = 0) -> None:
        self._promises = _Promises()
        #: Applies from the next reading on.
        self.max_memory = max_memory
        #: Whether nothing may be added until usage drops below `CLEAR_SHARE`.
        self.is_short = False
        #: The bound that is reached first; None: no limit is known.
        self.tightest: MemoryBound | None = None
        #: The smallest limit in bytes, however much of it is used; None: no limit is known.
        self.memory_limit: int | None = None

    def observe(self, reading: MemoryReading, now: float) -> None:
        bounds = [*reading.bounds]
        if self.max_memory:
            bounds.append(MemoryBound(MemorySource.SETTING, reading.resident, self.max_memory))
        self.tightest = max(bounds, key=lambda bound: bound.share, default=None)
        self.memory_limit = min((bound.limit for bound in bounds), default=None)
        self.room(1, now)  # updates `is_short`

    def room(self, size: int, now: float) -> float:
        """How many units of `size` bytes may be added now; infinite where no limit is known."""
        bound = self.tightest
        if bound is None:
            self.is_short = False
            return math.inf
        expected = bound.used + self._promises.at(now)
        self.is_short = expected / bound.limit >= (CLEAR_SHARE if self.is_short else FULL_SHARE)
        return 0 if self.is_short else max(0, math.ceil((FULL_SHARE * bound.limit - expected) / size))

    def promise(self, size: int, now: float) -> None:
        """Reserve so many bytes."""
        self._promises.add(size, now)

    def shortages(self, consequence: str = "") -> tuple[Condition, ...]:
        """The current condition, for an administrator. `consequence`: whole sentences."""
        if not self.is_short or (bound := self.tightest) is None:
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
            source=Text(limit),
            share=f"{CLEAR_SHARE:.0%}".rstrip("%"),
        )
        return (condition,)


class DescriptorAdmission:
    """Refuses calls and speakers before the last descriptor is taken.

    The reserve allows running calls to reconnect, HTTP requests to be answered, and files to be written.
    """

    def __init__(self) -> None:
        self._reading = DescriptorReading(0, None)
        self._promises = _Promises()

    def observe(self, reading: DescriptorReading) -> None:
        self._reading = reading

    def room(self, descriptors: int, now: float) -> float:
        """How many more users of `descriptors` descriptors each may be added; infinite if no limit is known."""
        limit = self._reading.limit
        if limit is None:
            return math.inf
        return max(0, (limit - self._reading.used - self._promises.at(now) - reserve(limit)) // descriptors)

    def promise(self, descriptors: int, now: float) -> None:
        """Reserve so many descriptors."""
        self._promises.add(descriptors, now)

    def require_call(self, now: float) -> None:
        """Reserve the descriptors of a call. Raises OutOfDescriptors."""
        if self.room(CALL_DESCRIPTORS, now) < 1:
            condition = self._condition()
            raise OutOfDescriptors(condition.message, fix=condition.fix)
        self.promise(CALL_DESCRIPTORS, now)

    def shortages(self, now: float) -> tuple[Condition, ...]:
        """The current condition, for an administrator."""
        if self.room(SPEAKER_DESCRIPTORS, now) >= 1:
            return ()
        return (self._condition(),)

    def _condition(self) -> Condition:
        return Condition.of(
            "descriptors",
            "Too many files are open: {used} of {limit}. New calls and speakers are refused. Running captions continue.",
            "Raise the limit of open files (ulimit -n, LimitNOFILE= of systemd, --ulimit nofile of Docker).",
            used=str(self._reading.used),
            limit=str(self._reading.limit),
        )


def _mb(size: int) -> int:
    return round(size / _MB)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""File descriptors: how many are in use, and whether there are enough for one more call or speaker.

Calls and speakers are refused before the last descriptor is taken. The reserve allows running calls to reconnect, HTTP requests
to be answered, and files to be written.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import resource
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from live_transcription.errors import OutOfDescriptors
from live_transcription.status import Condition

#: Descriptors of a call: its websocket to the HPB, and for a moment a second one or a connection to a name server.
CALL_DESCRIPTORS = 2
#: Descriptors of a speaker: UDP sockets (one per local address, one per TURN server), and a speech-to-text connection.
SPEAKER_DESCRIPTORS = 6
#: Seconds until a reading includes what was admitted.
SETTLE_S = 5.0
#: Seconds between two readings.
READ_S = 1.0
#: The limit is never raised above this. The system may allow a thousand times as many, and tables grow with the limit.
_MOST = 1 << 20
#: Smallest and largest number of HTTP connections at once; in between an eighth of the limit.
_HTTP = (16, 256)
#: Kept for reconnections, files and name servers: a sixteenth of the limit, within these bounds.
_SPARE = (16, 128)


@dataclass(frozen=True, slots=True)
class DescriptorReading:
    """`used` of `limit` descriptors are in use; `limit` None: no limit is known."""

    used: int
    limit: int | None


class DescriptorBudget:
    """Decides whether one more call or speaker fits. Pure: `now` in seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._reading = DescriptorReading(0, None)
        # What was admitted lately: when, and how many descriptors; and the sum.
        self._promised: deque[tuple[float, int]] = deque()
        self._promised_descriptors = 0

    def observe(self, reading: DescriptorReading) -> None:
        """Take a new reading, about once a second."""
        self._reading = reading

    def room(self, descriptors: int, now: float) -> float:
        """How many more users of `descriptors` descriptors each may be added; infinite if no limit is known."""
        limit = self._reading.limit
        if limit is None:
            return math.inf
        return max(0, (limit - self._used(now) - reserve(limit)) // descriptors)

    def promise(self, descriptors: int, now: float) -> None:
        """Reserve descriptors that readings do not include before `SETTLE_S`."""
        if descriptors > 0:
            self._promised.append((now, descriptors))
            self._promised_descriptors += descriptors

    def is_short(self, now: float) -> bool:
        """Whether a speaker would be refused now."""
        return self.room(SPEAKER_DESCRIPTORS, now) < 1

    def shortages(self, now: float) -> tuple[Condition, ...]:
        """The current condition, for an administrator."""
        if not self.is_short(now):
            return ()
        return (self.condition(),)

    def condition(self) -> Condition:
        return Condition.of(
            "descriptors",
            "Too many files are open: {used} of {limit}. New calls and speakers are refused. Running captions continue.",
            "Raise the limit of open files (ulimit -n, LimitNOFILE= of systemd, --ulimit nofile of Docker).",
            used=str(self._reading.used),
            limit=str(self._reading.limit),
        )

    def _used(self, now: float) -> int:
        while self._promised and now - self._promised[0][0] >= SETTLE_S:
            self._promised_descriptors -= self._promised.popleft()[1]
        return self._reading.used + self._promised_descriptors


def http_connections(limit: int | None) -> int:
    """How many HTTP connections may be open at once under this limit of descriptors."""
    smallest, largest = _HTTP
    return largest if limit is None else max(smallest, min(largest, limit // 8))


def reserve(limit: int) -> int:
    """Number of descriptors that calls and speakers leave free: for HTTP connections, and some spare ones."""
    smallest, largest = _SPARE
    return http_connections(limit) + max(smallest, min(largest, limit // 16))


def raise_limit() -> int | None:
    """Raise this process's soft limit of descriptors to the hard one. Returns the new limit; None if there is none.

    systemd's soft limit is 1,024, because select(2) can do no more; asyncio uses epoll(7).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # the system allows less than its hard limit says
            return soft
        return wanted
    return None if soft == resource.RLIM_INFINITY else soft


def read_descriptors() -> DescriptorReading:
    """Count this process's descriptors. If there is none left to count them with, all count as used."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return DescriptorReading(0, None)
    try:
        # Since Linux 6.2, st_size is the number of open descriptors. stat(2) needs no descriptor and is always fast.
        used = os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")) - 1
        return DescriptorReading(used, soft)
    except OSError as error:
        return DescriptorReading(soft, soft) if error.errno in (errno.EMFILE, errno.ENFILE) else DescriptorReading(0, None)


class Descriptors:
    """The budget of this process, with a reading per second. `read` replaces the system in tests."""

    def __init__(self, *, read: Callable[[], DescriptorReading] = read_descriptors) -> None:
        self._read = read
        self._budget = DescriptorBudget()
        self._budget.observe(read())

    async def watch(self) -> None:
        """Read once a second until cancelled."""
        while True:
            self._budget.observe(self._read())
            await asyncio.sleep(READ_S)

    def require_call(self) -> None:
        """Reserve the descriptors of a call. Raises OutOfDescriptors."""
        now = _now()
        if self._budget.room(CALL_DESCRIPTORS, now) < 1:
            condition = self._budget.condition()
            raise OutOfDescriptors(condition.message, fix=condition.fix)
        self._budget.promise(CALL_DESCRIPTORS, now)

    def speaker_room(self, now: float) -> float:
        """How many more speakers may be subscribed to."""
        return self._budget.room(SPEAKER_DESCRIPTORS, now)

    def promise_speakers(self, number: int, now: float) -> None:
        """Reserve the descriptors of new subscriptions."""
        self._budget.promise(number * SPEAKER_DESCRIPTORS, now)

    def shortages(self) -> tuple[Condition, ...]:
        return self._budget.shortages(_now())


def _now() -> float:
    return asyncio.get_running_loop().time()

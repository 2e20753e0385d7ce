# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Whether one more speaker may be heard, and what is short if not. Pure: `now` in seconds of any monotonic clock."""

from __future__ import annotations

from collections import deque

from live_transcription.observability.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.status import Condition

#: Shares of a memory limit: from the first on no new speakers, from the second downwards again.
FULL_SHARE = 0.80
CLEAR_SHARE = 0.75
#: What a speaker is expected to take in bytes, and how long it takes until readings show it, in seconds: fifty who join at once
#: are not all admitted on one reading.
SPEAKER_BYTES = 1 << 20
SETTLE_S = 5.0

_MB = 1 << 20
_WHOSE = {
    MemorySource.CONTAINER: "the container's limit",
    MemorySource.MACHINE: "what the machine has left for the app",
    MemorySource.PROCESS: "the limit of the app's address space, ulimit -v",
    MemorySource.SETTING: "the memory limit of the settings",
}
_MORE = {
    MemorySource.CONTAINER: "Give the container more memory",
    MemorySource.MACHINE: "Give the machine more memory",
    MemorySource.PROCESS: "Raise that limit",
    MemorySource.SETTING: "Raise the memory limit in the settings",
}


class Admission:
    """`max_speakers` None: no such limit. Memory is limited by every bound of the readings, and to `max_memory` bytes (0: not).

    Above `FULL_SHARE` of any of them there is no admission, until all are below `CLEAR_SHARE`.
    """

    def __init__(self, max_speakers: int | None = None, max_memory: int = 0) -> None:
        self._max_speakers = max_speakers
        self._max_memory = max_memory
        self._tightest: MemoryBound | None = None
        self._memory_limit: int | None = None
        self._memory_full = False
        self._admitted_at: deque[float] = deque()

    def limit(self, max_speakers: int, max_memory: int) -> None:
        """Other limits, from the next reading and request on."""
        self._max_speakers = max_speakers
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

    def admit(self, speakers: int, now: float, *, returning: bool = False) -> bool:
        """Whether one more may be heard beside `speakers`; True counts them as admitted.

        `returning`: they were heard a moment ago and their place is still warm, so that shortness of memory does not count.
        """
        self._weigh(now)
        if self._memory_full and not returning:
            return False
        if self._max_speakers is not None and speakers >= self._max_speakers:
            return False
        if not returning:
            self._admitted_at.append(now)
        return True

    def shortages(self, waiting: int) -> tuple[Condition, ...]:
        """What is short now, for an administrator. `waiting`: speakers who are not heard for it."""
        left_out = f" {waiting} of those who speak are not heard." if waiting else ""
        if self._memory_full and (bound := self._tightest) is not None:
            return (
                Condition(
                    "memory",
                    f"Memory is short: {_mb(bound.used)} of {_mb(bound.limit)} MB are in use ({_WHOSE[bound.source]}). No more "
                    f"speakers are taken until it is below {CLEAR_SHARE:.0%}; captions of the others go on.{left_out}",
                    f"{_MORE[bound.source]}, or take fewer speakers at once.",
                ),
            )
        if waiting and self._max_speakers is not None:
            return (
                Condition(
                    "speakers",
                    f"The limit of {self._max_speakers} speakers at once is reached; captions of the others go on.{left_out}",
                    "Raise the number of speakers in the settings if this machine can do more.",
                ),
            )
        return ()

    def _weigh(self, now: float) -> None:
        while self._admitted_at and now - self._admitted_at[0] >= SETTLE_S:
            self._admitted_at.popleft()
        if self._tightest is None:
            self._memory_full = False
            return
        promised = len(self._admitted_at) * SPEAKER_BYTES
        share = (self._tightest.used + promised) / self._tightest.limit
        self._memory_full = share >= (CLEAR_SHARE if self._memory_full else FULL_SHARE)


def _mb(size: int) -> int:
    return round(size / _MB)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which translation is requested next, and whether to send requests to the provider at all.

Pure: `now` is in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

#: Number of translations that may be under way at once, in all calls together.
MAX_IN_FLIGHT = 16
#: After this many failures in a row, one request per `RETRY_S` shows whether the provider works again.
FAILURES = 3
RETRY_S = 5.0

Job = TypeVar("Job")


@dataclass(frozen=True, slots=True)
class _Queued(Generic[Job]):
    job: Job
    wanted: Callable[[], bool]


class FairQueue(Generic[Job]):
    """Jobs of several calls, one call after the other, with at most `MAX_IN_FLIGHT` under way.

    The number of waiting jobs is limited by the lanes (`lane.MAX_WAITING` each).
    """

    def __init__(self) -> None:
        self._calls: OrderedDict[Hashable, deque[_Queued[Job]]] = OrderedDict()
        self.in_flight = 0

    def __len__(self) -> int:
        """Number of waiting jobs."""
        return sum(map(len, self._calls.values()))

    def add(self, call: Hashable, job: Job, wanted: Callable[[], bool]) -> None:
        """Queue a job. `wanted` is called later and returns whether the result would still be used."""
        self._calls.setdefault(call, deque()).append(_Queued(job, wanted))

    def start(self) -> Job | None:
        """Return the next job, which counts as under way until `end`; None if there is none, or too many are under way."""
        while self._calls and self.in_flight < MAX_IN_FLIGHT:
            call, queued = self._calls.popitem(last=False)
            entry = queued.popleft()
            if queued:
                self._calls[call] = queued
            if entry.wanted():
                self.in_flight += 1
                return entry.job
        return None

    def end(self) -> None:
        """A job that was started has ended."""
        self.in_flight -= 1


class ProviderHealth:
    """Whether to send requests to a provider of translations."""

    def __init__(self) -> None:
        self._failures = 0
        self._retry_at = float("-inf")

    @property
    def failing(self) -> bool:
        """Whether the last requests have failed."""
        return self._failures >= FAILURES

    def allows(self, now: float) -> bool:
        """Whether to send a request. While the provider fails, True once per `RETRY_S`."""
        if not self.failing:
            return True
        if now < self._retry_at:
            return False
        self._retry_at = now + RETRY_S
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, now: float) -> None:
        """A request has failed or was given up."""
        self._failures += 1
        if self._failures == FAILURES:
            self._retry_at = now + RETRY_S

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The health of a backend, as observed, and when to probe it again. Pure: `now` is in seconds of a monotonic clock."""

from __future__ import annotations

from enum import Enum
from random import Random

from live_transcription.errors import SttAtCapacity, SttError, SttStarting
from live_transcription.status import EngineState

#: Seconds between two probes of a backend that is down, doubled from the first value to the second.
PROBE_S = (2.0, 60.0)
#: Seconds after the last probe was due, from which on a failure says nothing any more.
STALE_S = 300.0


class State(Enum):
    """`UNKNOWN`: not tried yet, or too long ago. `REFUSED`: an administrator has to act, so it is not probed."""

    UNKNOWN = "unknown"
    UP = "up"
    STARTING = "starting"
    FULL = "full"
    DOWN = "down"
    REFUSED = "refused"


class BackendHealth:
    """One backend's health. `probe_at` is when to probe it; None if there is no need or no use."""

    def __init__(self, backend: str, random: Random) -> None:
        self.probe_at: float | None = None
        self._backend = backend
        self._random = random
        self._state = State.UNKNOWN
        self._error: SttError | None = None
        self._failures = 0

    def report(self, now: float) -> EngineState:
        """The state for the status page."""
        state, error = self.state(now), self._error
        if error is None:
            return EngineState(self._backend, state.value)
        return EngineState(self._backend, state.value, error.message, error.code, error.fix)

    def state(self, now: float) -> State:
        if self.probe_at is not None and now >= self.probe_at + STALE_S:
            return State.UNKNOWN
        return self._state

    def usable(self, now: float) -> bool:
        """Whether to try to open a stream."""
        return self.state(now) in (State.UNKNOWN, State.UP)

    def succeeded(self) -> None:
        """Note that the backend answered a probe or emitted text."""
        self._failures = 0
        self.probe_at = None
        self._error = None
        self._state = State.UP

    def failed(self, error: SttError, now: float) -> bool:
        """Note that a stream or a probe failed. Returns whether this changes the state, so that it is worth a log message."""
        self._error = error
        before = self._state
        if error.retryable and self.probe_at is not None and now < self.probe_at:
            # All streams report the same outage. It counts as one failure, or the wait would grow with the number of speakers.
            return False
        if not error.retryable:
            self.probe_at = None
            self._state = State.REFUSED
            return before is not State.REFUSED
        self._failures += 1
        first_s, last_s = PROBE_S
        self.probe_at = now + self._random.uniform(0.75, 1.0) * min(last_s, first_s * 2.0 ** min(self._failures - 1, 10))
        if isinstance(error, SttStarting):
            self._state = State.STARTING
        else:
            self._state = State.FULL if isinstance(error, SttAtCapacity) else State.DOWN
        return before is not self._state

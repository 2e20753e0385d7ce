# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What is known of a backend from how it behaved, and when it is worth asking again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from random import Random

from live_transcription.errors import SttAtCapacity, SttError
from live_transcription.stt.kyutai.handshake import SttStarting

#: Between two questions to a backend that is down, in seconds: doubled from the first to the second.
PROBE_S = (2.0, 60.0)
#: News of a failure are stale after this long without a question, in seconds.
STALE_S = 300.0


class State(Enum):
    """`UNKNOWN`: nothing tried yet, or too long ago. `REFUSED`: an administrator has to act; not asked again."""

    UNKNOWN = "unknown"
    UP = "up"
    STARTING = "starting"
    FULL = "full"
    DOWN = "down"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class HealthReport:
    """For the status page: `since` and `probe_at` in seconds of the loop's clock; `problem` is for an administrator."""

    backend: str
    state: State
    since: float
    probe_at: float | None = None
    error_code: str = ""
    problem: str = ""


class BackendHealth:
    def __init__(self, backend: str, random: Random) -> None:
        self._backend = backend
        self._random = random
        self._state = State.UNKNOWN
        self._since = 0.0
        self._probe_at: float | None = None
        self._error: SttError | None = None
        self._failures = 0

    def report(self, now: float) -> HealthReport:
        error = self._error
        return HealthReport(
            self._backend,
            self.state(now),
            self._since,
            self._probe_at,
            error.code if error is not None else "",
            str(error) if error is not None else "",
        )

    def state(self, now: float) -> State:
        if self._probe_at is not None and now >= self._probe_at + STALE_S:
            return State.UNKNOWN
        return self._state

    def usable(self, now: float) -> bool:
        """Whether a stream is worth trying."""
        return self.state(now) in (State.UNKNOWN, State.UP)

    @property
    def probe_at(self) -> float | None:
        """When to ask it again; None: no need, or no use."""
        return self._probe_at

    def succeeded(self, now: float) -> None:
        self._failures = 0
        self._probe_at = None
        self._error = None
        self._enter(State.UP, now)

    def failed(self, error: SttError, now: float) -> bool:
        """A stream could not be opened or was of no use, or a question was answered badly; whether that is news."""
        self._error = error
        before = self._state
        if error.retryable and self._probe_at is not None and now < self._probe_at:
            # Many streams tell of the same outage; it is one failure.
            return False
        if not error.retryable:
            self._probe_at = None
            self._enter(State.REFUSED, now)
            return before is not State.REFUSED
        self._failures += 1
        first_s, last_s = PROBE_S
        self._probe_at = now + self._random.uniform(0.75, 1.0) * min(last_s, first_s * 2.0 ** min(self._failures - 1, 10))
        starting = isinstance(error, SttStarting)
        self._enter(State.STARTING if starting else State.FULL if isinstance(error, SttAtCapacity) else State.DOWN, now)
        return before is not self._state

    def _enter(self, state: State, now: float) -> None:
        if state is not self._state:
            self._since = now
        self._state = state

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The health of a backend, as observed, and when to probe it again. Pure: `now` is in seconds of a monotonic clock."""

from __future__ import annotations

from enum import Enum
from random import Random

from live_transcription.errors import SttAtCapacity, SttDeaf, SttError, SttStarting, SttUnhealthy, SttWrongModel
from live_transcription.status import EngineState

#: Seconds after the first failure until the backend is probed, and at least between two probes after further failures.
PROBE_S = (2.0, 60.0)
#: Seconds without a failure, with text, after which earlier failures do not count any more.
STEADY_S = 60.0
#: Seconds after the last probe was due, from which on a failure says nothing any more.
STALE_S = 300.0
#: Seconds for which an engine of this machine is passed over after it was full.
FULL_S = 10.0
#: Seconds for which a backend that answers again is reserved for the speaker who is to try it.
RESERVED_S = 30.0


class State(Enum):
    """`UNKNOWN`: not tried yet, or too long ago. `REFUSED`: an administrator has to act."""

    UNKNOWN = "unknown"
    UP = "up"
    STARTING = "starting"
    FULL = "full"
    DOWN = "down"
    REFUSED = "refused"


class BackendHealth:
    """One backend's health. `probe_at` is when to probe it; None if there is no need or no use.

    After a failure, one speaker tries the backend first. The others follow when it has emitted text. A `speaker` is any object.
    `remote`: a server transcribes. An engine of this machine that is full has not failed: the speakers that it serves are not
    affected, and it has room as soon as one of them stops.
    """

    def __init__(self, backend: str, random: Random, *, remote: bool = True) -> None:
        self.probe_at: float | None = None
        self._remote = remote
        self._backend = backend
        self._random = random
        self._state = State.UNKNOWN
        self._error: SttError | None = None
        # Failures since the backend last was steady, and since when it has emitted text without a failure.
        self._failures = 0
        self._up_since: float | None = None
        # Whether it answered a probe since the last failure.
        self._answered = False
        # Who tries it, and until when it is reserved.
        self._trial: tuple[object, float] | None = None

    @property
    def error(self) -> SttError | None:
        """The failure that it has not recovered from."""
        return self._error

    def report(self, now: float) -> EngineState:
        """The state for the status page."""
        state, error = self.state(now), self._error
        if error is None or state is State.UP:
            return EngineState(self._backend, state.value)
        return EngineState(self._backend, state.value, error.message, error.code, error.fix)

    def state(self, now: float) -> State:
        if not self._remote and self._state is State.FULL and (self.probe_at is None or now >= self.probe_at):
            return State.UP
        if self.probe_at is not None and now >= self.probe_at + STALE_S:
            return State.UNKNOWN
        return self._state

    def usable(self, speaker: object, now: float) -> bool:
        """Whether this speaker should try to open a stream."""
        if not self._answered and self.state(now) not in (State.UNKNOWN, State.UP):
            return False
        return self._trial is None or self._trial[0] is speaker or now >= self._trial[1]

    def reserve(self, speaker: object, now: float, *, until: float | None = None) -> None:
        """Let only this speaker use the backend until the time given, if it has not emitted text since a failure."""
        if self._failures and self._up_since is None and self.usable(speaker, now):
            self._trial = speaker, now + RESERVED_S if until is None else until

    def tried_by(self, speaker: object) -> bool:
        """Whether this speaker tries the backend for all."""
        return self._trial is not None and self._trial[0] is speaker

    def release(self, speaker: object) -> None:
        """Note that this speaker has no stream of the backend any more."""
        if self.tried_by(speaker):
            self._trial = None

    def answered(self) -> None:
        """Note that the backend answered a probe. That does not show whether it is healthy, but a stream may be tried."""
        self.probe_at = None
        self._answered = True
        if not isinstance(self._error, SttUnhealthy):
            self._error = None
            self._state = State.UP

    def succeeded(self, now: float) -> None:
        """Note that the backend emitted text as it should."""
        self._error = self._trial = self.probe_at = None
        self._answered = False
        self._state = State.UP
        if self._up_since is None:
            self._up_since = now

    def acquitted(self) -> None:
        """Note that the backend was not deaf: there were no words."""
        if isinstance(self._error, SttDeaf):
            self._error = self._trial = self.probe_at = None
            self._failures = 0
            self._state = State.UP

    def failed(self, error: SttError, now: float) -> bool:
        """Note that a stream or a probe failed. Returns whether this changes the state, so that it is worth a log message."""
        before, self._error = (self._state, self._error and self._error.code), error
        if error.retryable and self.probe_at is not None and now < self.probe_at:
            # All streams report the same outage. It counts as one failure.
            return False
        if not self._remote and isinstance(error, SttAtCapacity):
            self._state, self.probe_at = State.FULL, now + FULL_S
            return before != (self._state, error.code)
        if self._up_since is not None and now >= self._up_since + STEADY_S:
            self._failures = 0
        self._trial = self._up_since = None
        self._answered = False
        # A backend is reported as unhealthy after two unhealthy connections, or one while it was tried.
        self._failures += 2 if isinstance(error, SttUnhealthy) else 1
        if not error.retryable:
            # A wrong model is replaced on the server. Saving the settings, which corrects everything else, resets the health.
            self.probe_at = now + PROBE_S[1] if isinstance(error, SttWrongModel) else None
            self._state = State.REFUSED
        elif isinstance(error, SttStarting):
            first_s, last_s = PROBE_S
            wait_s = min(last_s, first_s * 2.0 ** min(self._failures - 1, 10))
            self.probe_at = now + self._random.uniform(0.75, 1.0) * wait_s
            self._state = State.STARTING
        else:
            self.probe_at = now + self._random.uniform(1.0, 1.1) * PROBE_S[self._failures > 1]
            self._state = State.FULL if isinstance(error, SttAtCapacity) else State.DOWN
        return before != (self._state, error.code)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When another connection is opened after a failure, how much audio waits for it, and which failures are logged. Pure.

| failure | next attempt |
|---|---|
| SttRefused, SttModelError (not retryable) | never |
| SttExpired, of a session that has worked | at once |
| any other, of a session that has worked | within a quarter of a second |
| SttStarting, SttStalled | after 1.5 to 3 s, as long as it takes |
| any other | 1, 2, 4, 8, 16 s after as many failures in a row, with jitter; then every 15 to 20 s |

A session has worked if it emitted more words than the sessions before it, or reached its age limit. So a server that accepts
sessions only to close them is not flooded with attempts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from live_transcription.errors import SttError, SttExpired, SttStalled, SttStarting

#: Maximum of `ResiliencePolicy.ring_s`, in seconds.
RING_LIMIT_S = 120.0
#: Seconds before a continuing outage is logged again, and before an outage that has ended and come back is.
REMIND_S = (300.0, 30.0)
#: Number of messages that `RetryLog` remembers. Some of them quote the server, so their number is unlimited.
_REMEMBERED = 32


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits in seconds; `tries` is the number of attempts with growing waits, after which each wait is about `slow_s`."""

    base: float = 2.0
    tries: int = 5
    slow_s: float = 20.0
    starting_s: float = 3.0
    blip_s: float = 0.25

    def delay_s(self, error: SttError, failures: int, worked: bool, random: Random) -> float | None:
        """Seconds until the next attempt; None if there must be none.

        `failures` is the number of failures in a row, including this one; `worked` is whether the session worked before it.
        """
        if not error.retryable:
            return None
        if worked:
            return 0.0 if isinstance(error, SttExpired) else random.uniform(0.0, self.blip_s)
        if isinstance(error, (SttStarting, SttStalled)):
            return random.uniform(0.5, 1.0) * self.starting_s
        if failures > self.tries:
            return random.uniform(0.75, 1.0) * self.slow_s
        return random.uniform(0.5, 1.0) * self.base ** (failures - 1)


@dataclass(frozen=True, slots=True)
class ResiliencePolicy:
    """Limits of a stream that outlives its connections.

    `ring_s`: seconds of audio to buffer without a connection, at most 120; should be longer than a cold start.
    `replay_speed`: multiple of real time at which buffered audio is sent. `drain_s`: maximum number of seconds for the last
    words after `end()`, reconnecting included. Raises ValueError for values out of range.
    """

    ring_s: float = 30.0
    replay_speed: float = 4.0
    drain_s: float = 180.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if not 0 < self.ring_s <= RING_LIMIT_S:
            raise ValueError(f"ring_s must be within 0 and {RING_LIMIT_S:.0f}")
        if self.replay_speed <= 1:
            raise ValueError("replay_speed must be above 1, or lag never shrinks")


class RetryLog:
    """Decides which failures are logged: one line per outage, however many speakers it affects and however often each retries.

    `now` is in seconds of a monotonic clock.
    """

    def __init__(self) -> None:
        self._logged_at: dict[str, float] = {}
        self._down = False
        self._unlogged = 0

    def failed(self, message: str, now: float) -> int | None:
        """Note a failure. Returns None if it should not be logged, else the number of unlogged failures since the last line."""
        logged_at = self._logged_at.get(message, float("-inf"))
        if now < logged_at + REMIND_S[0 if self._down else 1]:
            self._unlogged += 1
            return None
        self._down = True
        self._logged_at.pop(message, None)
        if len(self._logged_at) >= _REMEMBERED:
            del self._logged_at[next(iter(self._logged_at))]
        self._logged_at[message] = now
        return self._take_unlogged()

    def worked(self) -> int | None:
        """Note that words arrived. Returns the number of unlogged failures of an outage that was logged, or None."""
        if not self._down:
            return None
        self._down = False
        return self._take_unlogged()

    def _take_unlogged(self) -> int:
        unlogged, self._unlogged = self._unlogged, 0
        return unlogged

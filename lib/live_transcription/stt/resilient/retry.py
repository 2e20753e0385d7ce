# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When another connection is opened after a failure, how much audio waits for it, and which failures are logged. Pure.

| failure | next attempt |
|---|---|
| SttRefused, SttModelError (not retryable) | never |
| SttExpired, of a session that has worked | at once |
| any other, of a session that has worked | within a quarter of a second |
| SttUnhealthy, the first two in a row | within a quarter of a second, since each took seconds of speech to notice |
| SttStarting, SttStalled | after 1.5 to 3 s, without a limit |
| any other | 1, 2, 4, 8, 16 s after as many failures in a row, with jitter; then every 15 to 20 s |

A session has worked if it emitted more words than the sessions before it, or reached its age limit. So a server that accepts
sessions only to close them is not flooded with attempts.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from live_transcription.errors import SttError, SttExpired, SttStalled, SttStarting, SttUnhealthy

#: Maximum seconds before the next attempt after a break of a session that worked, and after an attempt with a starting server.
BLIP_S = 0.25
STARTING_S = 3.0
#: Number of unhealthy sessions in a row that are replaced at once.
PROMPT_TRIES = 2
#: Number of attempts with doubled waits, and the maximum seconds between the attempts after them.
GROWING_TRIES = 5
SLOW_S = 20.0
#: Maximum of `ResiliencePolicy.ring_s`, in seconds.
RING_LIMIT_S = 120.0
#: Seconds before a continuing outage is logged again, and before an outage that has ended and come back is.
REMIND_S = (300.0, 30.0)
#: Number of messages that `RetryLog` remembers. Some of them quote the server, so their number is unlimited.
_REMEMBERED = 32


def retry_delay_s(error: SttError, failures: int, worked: bool, random: Random) -> float | None:
    """Seconds until the next attempt; None if there must be none.

    `failures` is the number of failures in a row, including this one; `worked` is whether the session worked before it.
    """
    if not error.retryable:
        return None
    if worked:
        return 0.0 if isinstance(error, SttExpired) else random.uniform(0.0, BLIP_S)
    if isinstance(error, SttUnhealthy) and failures <= PROMPT_TRIES:
        return random.uniform(0.0, BLIP_S)
    if isinstance(error, (SttStarting, SttStalled)):
        return random.uniform(0.5, 1.0) * STARTING_S
    if failures > GROWING_TRIES:
        return random.uniform(0.75, 1.0) * SLOW_S
    return random.uniform(0.5, 1.0) * 2.0 ** (failures - 1)


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

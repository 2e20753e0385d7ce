# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""After which failure another connection is tried, and when. Pure.

| failure | next try |
|---|---|
| SttRefused, SttModelError (not retryable) | never |
| SttExpired, of a session that has worked | at once |
| any other, of a session that has worked | within a quarter of a second |
| SttStarting, SttStalled | after 1.5 to 3 s, for as long as it takes |
| all else | 2 to the power of the failures in a row, with jitter; after five of them every 15 to 20 s |

A session has worked when it told more than those before it, or came to its age: a server that takes sessions only to close
them is not stormed.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from live_transcription.errors import SttError, SttExpired
from live_transcription.stt.kyutai.handshake import SttStalled, SttStarting


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds, and `tries` with growing waits before the slow ones."""

    base: float = 2.0
    tries: int = 5
    slow_s: float = 20.0
    starting_s: float = 3.0
    blip_s: float = 0.25

    def delay_s(self, error: SttError, failures: int, worked: bool, random: Random) -> float | None:
        """How long to wait; None: never again. `failures`: in a row, this one included; `worked`: before this one."""
        if not error.retryable:
            return None
        if worked:
            return 0.0 if isinstance(error, SttExpired) else random.uniform(0.0, self.blip_s)
        if isinstance(error, (SttStarting, SttStalled)):
            return random.uniform(0.5, 1.0) * self.starting_s
        if failures > self.tries:
            return random.uniform(0.75, 1.0) * self.slow_s
        return random.uniform(0.5, 1.0) * self.base ** (failures - 1)

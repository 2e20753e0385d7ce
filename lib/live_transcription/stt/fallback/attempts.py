# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which backend one speaker's next stream should use, after what happened on the speaker's last ones. Pure.

| on a speaker's stream | next |
|---|---|
| a first problem (`stt.fallback.stream_health`) | another connection to the same backend, judged sooner |
| a second one within a minute | the backend has failed; the speaker avoids it for a minute |
| no word from the next backend either | the speech has no words: a hum, music. The first backend was not deaf |
| a problem of a backend that is tried after a failure | likewise |
| a second problem, and no other backend that works | the same backend, judged by a much longer time |

Backends are numbers, the best first. `now` is in seconds of a monotonic clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from live_transcription.errors import SttDeaf, SttSlow, SttUnhealthy
from live_transcription.stt.fallback.stream_health import SUSPECTED_DEAF, SUSPECTED_SLOW, Patience

#: Seconds for which a problem is remembered, and a backend with two of them avoided.
REMEMBER_S = 60.0
#: For a speaker whose speech has no words for any backend. Up to 20 s of it are transcribed again on each new connection
#: (`stt.resilient.stream`), so there is at most one connection per minute.
WORDLESS = Patience(85.0)
#: For the only backend that is left after two problems, and the seconds for which that applies. Late captions are better than
#: none.
NO_ALTERNATIVE = Patience(WORDLESS.speech_s, math.inf)
NO_ALTERNATIVE_S = 300.0
#: Seconds for opening a stream after a break, while another backend is available.
REOPENING_S = 5.0


class Outcome(Enum):
    """`AGAIN`: try the same backend once more. `FAILED`: use another one. `WORDLESS`: nothing is wrong with the backends."""

    AGAIN = auto()
    FAILED = auto()
    WORDLESS = auto()


@dataclass(slots=True)
class _Record:
    problem_at: float = -math.inf
    suspicion: Patience = SUSPECTED_DEAF
    broken_at: float = -math.inf
    avoid_until: float = -math.inf
    tolerate_until: float = -math.inf


class Attempts:
    """The streams of one speaker."""

    def __init__(self, backends: int) -> None:
        self._records = tuple(_Record() for _ in range(backends))
        #: Backends that failed because they sent no word of the present speech.
        self.deaf: set[int] = set()
        self._wordless = False

    def avoids(self, backend: int, now: float) -> bool:
        return now < self._records[backend].avoid_until

    def patience(self, backend: int, now: float) -> Patience:
        """How the next stream of a backend is to be judged."""
        record = self._records[backend]
        if now < record.tolerate_until:
            return NO_ALTERNATIVE
        if self._wordless:
            return WORDLESS
        return record.suspicion if now < record.problem_at + REMEMBER_S else Patience()

    def opening_s(self, backend: int, usual_s: float, now: float) -> float:
        """Seconds for opening a stream of a backend while another one is available."""
        return min(usual_s, REOPENING_S) if now < self._records[backend].broken_at + REMEMBER_S else usual_s

    def broke(self, backend: int, now: float) -> None:
        """Note that a stream of a backend failed."""
        self._records[backend].broken_at = now

    def problem(self, backend: int, error: SttUnhealthy, now: float, *, alone: bool, trial: bool = False) -> Outcome:
        """Note a problem of a stream. If the outcome is WORDLESS, the backends in `deaf` were not deaf.

        `alone`: no other backend is worth trying. `trial`: the backend is tried after a failure.
        """
        if isinstance(error, SttDeaf) and self.deaf - {backend}:
            self._wordless = True
            return Outcome.WORDLESS
        record = self._records[backend]
        first = now >= max(record.problem_at + REMEMBER_S, record.tolerate_until) and not trial
        record.problem_at = now
        record.suspicion = SUSPECTED_SLOW if isinstance(error, SttSlow) else SUSPECTED_DEAF
        if first:
            return Outcome.AGAIN
        if alone:
            record.tolerate_until = now + NO_ALTERNATIVE_S
        record.avoid_until = now + REMEMBER_S
        if isinstance(error, SttDeaf):
            self.deaf.add(backend)
        return Outcome.FAILED

    def acquit(self) -> Sequence[int]:
        """Forget the problems of the backends in `deaf`, and return them."""
        acquitted = sorted(self.deaf)
        for backend in acquitted:
            self._records[backend].problem_at = self._records[backend].avoid_until = -math.inf
        self.deaf.clear()
        return acquitted

    def word(self) -> None:
        """Note that a backend sent words."""
        self._wordless = False
        self.deaf.clear()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Delays between attempts: exponential with base 2 and jitter, so that many rooms or speakers do not retry together. Pure."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """`next_delay()` in seconds: uniform in [least * c, c), c = min(cap, first * 2**n), for the n-th attempt since `reset()`.

    `least` is 0 for full jitter. `rng` returns floats in [0, 1).
    """

    def __init__(self, rng: Callable[[], float], *, first_s: float = 0.5, cap_s: float = 30.0, least: float = 0.0) -> None:
        self._rng = rng
        self._first_s = first_s
        self._cap_s = cap_s
        self._least = least
        self._ceiling_s = first_s

    def next_delay(self, spent_s: float = 0.0) -> float:
        """`spent_s`: duration of the last attempt. It counts as part of the delay, so attempts begin at most `cap_s` apart."""
        share = self._least + (1.0 - self._least) * self._rng()
        delay = share * min(self._ceiling_s, self._cap_s)
        self._ceiling_s = min(self._ceiling_s * 2, self._cap_s)
        return max(0.0, delay - spent_s)

    def reset(self) -> None:
        self._ceiling_s = self._first_s


class Restarts:
    """Delays before tasks that failed unexpectedly start again, by the task's name: 5 s at first, rising to 2 min.

    After a run of one minute, the next failure counts as the first.
    """

    FIRST_S = 5.0
    CAP_S = 120.0
    HEALTHY_S = 60.0

    def __init__(self, rng: Callable[[], float]) -> None:
        self._rng = rng
        self._backoffs: dict[str, Backoff] = {}

    def failed(self, name: str, ran_s: float) -> float:
        """Seconds to wait after a run of `ran_s` seconds, with at most half of it as jitter."""
        backoff = self._backoffs.get(name)
        if backoff is None:
            backoff = self._backoffs[name] = Backoff(self._rng, first_s=self.FIRST_S, cap_s=self.CAP_S, least=0.5)
        elif ran_s >= self.HEALTHY_S:
            backoff.reset()
        return backoff.next_delay()

    def forget(self, name: str) -> None:
        """The task has ended without a failure, or is not needed any more."""
        self._backoffs.pop(name, None)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Load control: spaces a speaker's captions further apart while the event loop lags. Pure."""

from __future__ import annotations

from live_transcription.status import Condition

#: Smoothed lag in seconds: above the first, captions come less often; below the second, more often again.
BUSY_S = 0.08
CALM_S = 0.04
#: Largest stretch: from one message per 0.3 s to one per 2.4 s.
MOST = 8.0
#: Factors per sample: the stretch grows faster than it shrinks.
_SLOWER = 1.25
_FASTER = 0.95
#: Share of a new sample in the smoothed lag: one hiccup of 0.15 s changes nothing.
_NEW = 0.25
#: From this stretch on an administrator is informed.
NOTICEABLE = 2.0


class LoadControl:
    """Takes regular samples of the event loop's lag and computes `stretch`, a factor of 1 to `MOST` for the interval.

    No word is lost: waiting words are sent together.
    """

    def __init__(self) -> None:
        self.stretch = 1.0
        self.lag_s = 0.0
        self._noticeable = False

    def observe(self, lag_s: float) -> float:
        """Take a sample: by how many seconds a timer was late. Returns the new stretch."""
        self.lag_s += (max(0.0, lag_s) - self.lag_s) * _NEW
        if self.lag_s > BUSY_S:
            self.stretch = min(MOST, self.stretch * _SLOWER)
        elif self.lag_s < CALM_S:
            self.stretch = max(1.0, self.stretch * _FASTER)
        self._noticeable = self.stretch >= NOTICEABLE or (self._noticeable and self.stretch > 1.0)
        return self.stretch

    def shortages(self) -> tuple[Condition, ...]:
        """The current condition, for an administrator."""
        if not self._noticeable:
            return ()
        condition = Condition.of(
            "load",
            "The CPU is overloaded: the app runs {lag} ms late. Captions come {factor} times less often, with more words each.",
            "Give the app more CPU, or lower the maximum number of speakers in the settings.",
            lag=f"{self.lag_s * 1000:.0f}",
            factor=f"{self.stretch:.1f}",
        )
        return (condition,)

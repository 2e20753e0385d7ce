# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""How much further apart a speaker's captions come while the event loop lags. Pure."""

from __future__ import annotations

from live_transcription.status import Condition

#: Lag in seconds, smoothed: beyond the first captions come less often, below the second more often again.
BUSY_S = 0.08
CALM_S = 0.04
#: How far: messages every 0.3 s come every 2.4 s at most.
MOST = 8.0
#: At each sample; slower back than there.
_SLOWER = 1.25
_FASTER = 0.95
#: Share of a new sample in the smoothed lag: one hiccup of 0.15 s changes nothing.
_NEW = 0.25
#: Beyond this stretch it is worth telling an administrator.
NOTICEABLE = 2.0


class LoadControl:
    """Takes the event loop's lag, sampled at even times, and gives `stretch`, a factor of 1 to `MOST` for the interval.

    No word is lost by it: words that wait are sent together.
    """

    def __init__(self) -> None:
        self.stretch = 1.0
        self.lag_s = 0.0
        self._noticeable = False

    def observe(self, lag_s: float) -> float:
        """By how many seconds a timer came late. Returns the new stretch."""
        self.lag_s += (max(0.0, lag_s) - self.lag_s) * _NEW
        if self.lag_s > BUSY_S:
            self.stretch = min(MOST, self.stretch * _SLOWER)
        elif self.lag_s < CALM_S:
            self.stretch = max(1.0, self.stretch * _FASTER)
        self._noticeable = self.stretch >= NOTICEABLE or (self._noticeable and self.stretch > 1.0)
        return self.stretch

    def shortages(self) -> tuple[Condition, ...]:
        """What is short now, for an administrator."""
        if not self._noticeable:
            return ()
        message = (
            f"The processor is busy: the app runs {self.lag_s * 1000:.0f} ms late. Captions come {self.stretch:.1f} times "
            "less often, with more words each."
        )
        return (Condition("load", message, "Give the app more processor time, or take fewer speakers at once."),)

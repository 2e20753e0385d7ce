# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Lengthens the interval between a speaker's captions while the event loop lags. Pure."""

from __future__ import annotations

from live_transcription.status import Condition

#: Smoothed lag in seconds: the interval grows above the first, and shrinks below the second.
BUSY_S = 0.08
CALM_S = 0.04
#: Largest stretch: from one message per 0.3 s to one per 2.4 s.
MAX_STRETCH = 8.0
#: Factors per sample: the stretch grows faster than it shrinks.
_SLOWER = 1.25
_FASTER = 0.95
#: Weight of a new sample in the smoothed lag: one hiccup of 0.15 s changes nothing.
_NEW = 0.25
#: The condition `load` begins at this stretch.
NOTICEABLE = 2.0


class CaptionInterval:
    """The interval between two messages of a speaker, the same for all calls.

    `stretch`: factor for the interval, from 1 to `MAX_STRETCH`. No word is lost: waiting words are sent together.
    `lag_s`: the smoothed lag of the event loop.
    """

    __slots__ = ("_noticeable", "lag_s", "stretch")

    def __init__(self) -> None:
        self.stretch = 1.0
        self.lag_s = 0.0
        self._noticeable = False

    def observe(self, lag_s: float) -> float:
        """Take one of a series of regular samples: by how many seconds a timer was late. Returns the new stretch."""
        self.lag_s += (max(0.0, lag_s) - self.lag_s) * _NEW
        if self.lag_s > BUSY_S:
            self.stretch = min(MAX_STRETCH, self.stretch * _SLOWER)
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

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Holds the audio of a stream against the time that has passed, which no publisher can make up. Pure.

Sequence numbers and timestamps are the publisher's word: taken literally, jumps of 50 packets make 51 s of audio per second.
"""

from __future__ import annotations

from live_transcription.types import OPUS_CLOCK_RATE

#: Silence and concealment may run ahead of the clock by so much: the first packet may have been late. In ticks, like all here.
_TOLERANCE = OPUS_CLOCK_RATE // 10
#: Time that has passed without audio counts up to this: a path that buffers delivers it later in one go.
_MOST_CREDIT = 10 * OPUS_CLOCK_RATE
#: Packets may run ahead of the clock by so much; those beyond are dropped.
_MOST_DEBT = 10 * OPUS_CLOCK_RATE
#: How fast packets that ran ahead are forgiven, as a part of the time that passes.
_FORGIVEN = 0.25


class AudioClock:
    """`advance` with each arrival, then `play` each packet and `fill` each gap."""

    __slots__ = ("_balance", "_now")

    def __init__(self) -> None:
        #: Ticks that have passed less those that were given out.
        self._balance = 0.0
        self._now: float | None = None

    def advance(self, now: float) -> None:
        """`now` in seconds of a monotonic clock."""
        if self._now is not None and now > self._now:
            passed = (now - self._now) * OPUS_CLOCK_RATE
            if self._balance < -_TOLERANCE:  # by packets alone: forgiving them lets no gap be filled now
                passed += min(passed * _FORGIVEN, -_TOLERANCE - self._balance)
            self._balance = min(_MOST_CREDIT, self._balance + passed)
        self._now = now

    def play(self, ticks: int) -> bool:
        """Count a packet. False: the stream is so far ahead of the clock that the packet has to be dropped."""
        if self._balance < -_MOST_DEBT:
            return False
        self._balance -= ticks
        return True

    def fill(self, ticks: int) -> int:
        """Count a gap; how much of it may be filled."""
        filled = max(0, min(ticks, int(self._balance + _TOLERANCE)))
        self._balance -= filled
        return filled

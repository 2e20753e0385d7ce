# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Limits the audio of a stream to the time that has passed, which a publisher cannot forge. Pure.

Sequence numbers and timestamps are the publisher's claims. Taken literally, jumps of 50 packets make 51 s of audio per second.
"""

from __future__ import annotations

from live_transcription.types import OPUS_CLOCK_RATE

#: How far gaps may run ahead of the clock, since the first packet may have been late. All limits are in ticks.
_TOLERANCE = OPUS_CLOCK_RATE // 10
#: How much time without audio counts: a path that buffers delivers the audio later in one burst.
_MOST_CREDIT = 10 * OPUS_CLOCK_RATE
#: How far packets may run ahead of the clock; further ones are dropped.
_MOST_DEBT = 10 * OPUS_CLOCK_RATE
#: How fast the lead of packets is forgiven, as a share of the passing time.
_FORGIVEN = 0.25


class AudioClock:
    """`advance` with each arrival, then `play` each packet and `fill` each gap."""

    __slots__ = ("_balance", "_now")

    def __init__(self) -> None:
        #: Ticks that have passed, minus ticks of audio.
        self._balance = 0.0
        self._now: float | None = None

    def advance(self, now: float) -> None:
        """`now` in seconds of a monotonic clock."""
        if self._now is not None and now > self._now:
            passed = (now - self._now) * OPUS_CLOCK_RATE
            if self._balance < -_TOLERANCE:  # only packets lead so far; forgiving them allows no gap yet
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
        """Count a gap. Returns how much of it may be filled."""
        filled = max(0, min(ticks, int(self._balance + _TOLERANCE)))
        self._balance -= filled
        return filled

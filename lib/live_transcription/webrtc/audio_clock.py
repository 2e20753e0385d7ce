# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Limit a stream's audio to the time that has passed, which a publisher cannot forge. Pure.

Sequence numbers and timestamps are the publisher's claims. Taken literally, jumps of 50 packets make 51 s of audio per second.
"""

from __future__ import annotations

from live_transcription.types import OPUS_CLOCK_RATE

# All limits are in RTP clock ticks.
#: How far gaps may run ahead of the clock, since the first packet may have been late.
_TOLERANCE = OPUS_CLOCK_RATE // 10
#: Maximum credit for time without audio. A path that buffers delivers the audio later in one burst.
_MAX_CREDIT = 10 * OPUS_CLOCK_RATE
#: How far packets may run ahead of the clock. Packets beyond that are dropped.
_MAX_DEBT = 10 * OPUS_CLOCK_RATE
#: How fast the lead of packets decays, as a share of the time that passes.
_DECAY = 0.25


class AudioClock:
    """Call `advance` with each arrival, then `play` for each packet and `fill` for each gap. Times are in seconds."""

    def __init__(self) -> None:
        #: Ticks that have passed, minus ticks of audio.
        self._balance = 0.0
        self._now: float | None = None

    def advance(self, now: float) -> None:
        """Move the clock to `now`, the time of a monotonic clock."""
        if self._now is not None and now > self._now:
            passed = (now - self._now) * OPUS_CLOCK_RATE
            if self._balance < -_TOLERANCE:  # only packets lead so far; the decay must not allow a gap
                passed += min(passed * _DECAY, -_TOLERANCE - self._balance)
            self._balance = min(_MAX_CREDIT, self._balance + passed)
        self._now = now

    def play(self, ticks: int) -> bool:
        """Count a packet of `ticks`. Returns False if the stream is too far ahead of the clock: drop the packet."""
        if self._balance < -_MAX_DEBT:
            return False
        self._balance -= ticks
        return True

    def fill(self, ticks: int) -> int:
        """Count a gap of `ticks`. Returns how much of it may be filled."""
        filled = max(0, min(ticks, int(self._balance + _TOLERANCE)))
        self._balance -= filled
        return filled

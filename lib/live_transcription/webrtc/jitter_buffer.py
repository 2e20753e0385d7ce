# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Put RTP packets in sequence order and describe what is missing. Pure: `now` comes in, the next deadline goes out.

In-order packets pass at once: captions need order, not an even pace, so there is no fixed delay. Only a missing packet is
waited for, 20 to 60 ms depending on the recent reordering. Then everything behind it is released together, and the delay
is back at zero. What is not worth waiting for becomes an `AudioGap`. Limits follow RFC 3550, appendix A.1.

A packet may come with a number of `skipped` ones, which are digital silence that the socket's filter has dropped right before
it. Together they are a run that begins at the first skipped number. The run is ordered as a whole, and its silence becomes a
gap, so nothing behind this buffer knows of the filter.

Gaps never add up to more than the time that has passed, and packets that arrive much faster than real time are dropped (see
`AudioClock`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from live_transcription.opus.packet import packet_ticks
from live_transcription.types import OPUS_CLOCK_RATE, AudioGap, AudioPacket
from live_transcription.webrtc.audio_clock import AudioClock

Item: TypeAlias = AudioPacket | AudioGap

#: Gaps are filled up to one second. Longer silences (a mute) and losses would only cost the speech-to-text engine time.
MAX_GAP_TICKS = OPUS_CLOCK_RATE
#: Maximum number of packets buffered while one is missing. 60 ms are 24 packets of 2.5 ms.
MAX_BUFFERED = 64
#: Larger jumps of the sequence number, forward and back, are a restarted sender rather than loss or reordering. Two packets in
#: a row have to agree.
MAX_DROPOUT = 3_000
MAX_MISORDER = 100

_USUAL_TICKS = OPUS_CLOCK_RATE * 20 // 1000
_SEQUENCE_MASK = 0xFFFF
_TIMESTAMP_MASK = 0xFFFF_FFFF
#: A difference of timestamps from here on is a step back.
_BACKWARDS = 1 << 31
#: How many lost sequence numbers are remembered, to recognise packets that arrive after all.
_REMEMBERED = 64


@dataclass(slots=True)
class JitterStatistics:
    """Counts of packets, except `resyncs`, which counts events, and `longest_wait_s`.

    - `reordered`: out of order, but early enough to be played.
    - `late`: arrived after they were given up.
    - `lost`: given up, whether or not they arrived later.
    - `skipped`: digital silence that the socket's filter dropped.
    - `resyncs`: restarts of the sender, and jumps of its clock.
    """

    received: int = 0
    reordered: int = 0
    late: int = 0
    lost: int = 0
    skipped: int = 0
    resyncs: int = 0
    longest_wait_s: float = 0.0


class _Run(NamedTuple):
    """A buffered packet and the number of skipped ones right before it."""

    packet: AudioPacket
    skipped: int
    arrived_at: float


class JitterBuffer:
    """Orders one publisher's stream. Its length is the number of buffered packets, at most `MAX_BUFFERED` + 1."""

    def __init__(self, *, min_wait_s: float = 0.02, max_wait_s: float = 0.06) -> None:
        self.statistics = JitterStatistics()
        #: When `poll` has to be called, in the time base of `now`. None while no packet is missing.
        self.deadline: float | None = None
        self._min_wait_s = min_wait_s
        self._max_wait_s = max_wait_s
        self._lateness_s = min_wait_s
        self._ssrc: int | None = None
        # The sequence number and the timestamp that are played next, and the duration of the last packet.
        self._next = 0
        self._timestamp = 0
        self._ticks = _USUAL_TICKS
        # Runs that arrived early, by their first sequence number.
        self._runs: dict[int, _Run] = {}
        # Lost sequence numbers, and since when each was missing.
        self._given_up: dict[int, float] = {}
        # A packet with an implausible sequence number; the next one confirms or refutes that the sender restarted.
        self._stray: AudioPacket | None = None
        self._clock = AudioClock()

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def wait_s(self) -> float:
        """How long a missing packet is waited for at present, in seconds."""
        return min(self._max_wait_s, max(self._min_wait_s, 2 * self._lateness_s))

    def push(self, packet: AudioPacket, ssrc: int, now: float, skipped: int = 0) -> list[Item]:
        """Add a packet, and the `skipped` ones right before it. Returns the items that can be played now, in order."""
        self.statistics.received += 1
        self._clock.advance(now)
        # Another source: nothing that is buffered or expected applies to it.
        if ssrc != self._ssrc:
            return self._restart(ssrc, packet)
        first = packet.sequence_number
        if skipped:
            # Part of the run may have been received, since it was in the socket before the filter was.
            missing = (first - self._next) & _SEQUENCE_MASK
            skipped = min(missing, skipped) if missing <= MAX_DROPOUT else 0
            first = (first - skipped) & _SEQUENCE_MASK
        # The expected packet: play it and whatever waited for it.
        if first == self._next:
            self._stray = None
            if not self._runs:
                ticks = packet_ticks(packet.payload)
                if ticks is None or packet.timestamp != self._timestamp or skipped:
                    return self._play(packet, skipped)
                # Nearly all packets take this path: the result is that of `_play`, without its calls.
                self._next = (first + 1) & _SEQUENCE_MASK
                self._ticks = ticks
                self._timestamp = (packet.timestamp + ticks) & _TIMESTAMP_MASK
                return self._in_real_time(packet)
            self.statistics.reordered += 1
            self._lateness_s = max(self._lateness_s, now - self._missing_since())
            return self._play(packet, skipped) + self._advance(now)
        # A later packet: buffer it, since the ones before it may still arrive.
        ahead = (first - self._next) & _SEQUENCE_MASK
        if ahead <= MAX_DROPOUT:
            self._stray = None
            return self._buffer(first, _Run(packet, skipped, now))
        # An earlier packet: it was played or given up.
        if ahead > _SEQUENCE_MASK - MAX_MISORDER:
            self._count_late(packet.sequence_number, now)
            return []
        # An implausible sequence number.
        return self._check_restart(packet)

    def poll(self, now: float) -> list[Item]:
        """Return the items that can be played at `now`. Call it at `deadline`."""
        if self.deadline is None or now < self.deadline:
            return []
        self._clock.advance(now)
        return self._advance(now)

    def flush(self) -> list[Item]:
        """Return all remaining items, with gaps for missing packets, since no packet will follow."""
        items: list[Item] = []
        while self._runs:
            run = self._runs.pop(self._next, None)
            items += self._give_up() if run is None else self._play(run.packet, run.skipped)
        self.deadline = None
        return items

    def _restart(self, ssrc: int, *packets: AudioPacket) -> list[Item]:
        """Play what is buffered, and start again with these packets."""
        items = self.flush()
        if self._ssrc is not None:
            self.statistics.resyncs += 1
        self._ssrc = ssrc
        self._given_up.clear()
        self._stray = None
        self._next = packets[0].sequence_number
        self._timestamp = packets[0].timestamp
        for packet in packets:
            items += self._play(packet)
        return items

    def _check_restart(self, packet: AudioPacket) -> list[Item]:
        """Restart if this packet follows on the last stray one. A single stray packet is dropped."""
        stray, self._stray = self._stray, packet
        if stray is None or packet.sequence_number != (stray.sequence_number + 1) & _SEQUENCE_MASK:
            return []
        assert self._ssrc is not None
        return self._restart(self._ssrc, stray, packet)

    def _buffer(self, first: int, run: _Run) -> list[Item]:
        if first in self._runs:  # a duplicate
            return []
        self._runs[first] = run
        return self._advance(run.arrived_at)

    def _count_late(self, sequence_number: int, now: float) -> None:
        """Count a packet that arrives too late, unless it is a duplicate, and wait longer for the next missing one."""
        missing_since = self._given_up.pop(sequence_number, None)
        if missing_since is None:
            return
        self.statistics.late += 1
        self._lateness_s = min(self._max_wait_s, max(self._lateness_s, now - missing_since))

    def _missing_since(self) -> float:
        """Return when the first hole was noticed: at the arrival of the first packet behind it."""
        return min(run.arrived_at for run in self._runs.values())

    def _advance(self, now: float) -> list[Item]:
        """Play buffered runs up to the first hole that is still worth waiting for, and set the deadline for it."""
        items: list[Item] = []
        while self._runs:
            run = self._runs.pop(self._next, None)
            if run is not None:
                self.statistics.longest_wait_s = max(self.statistics.longest_wait_s, now - run.arrived_at)
                items += self._play(run.packet, run.skipped)
                continue
            missing_since = self._missing_since()
            self.deadline = missing_since + self.wait_s
            if now < self.deadline and len(self._runs) <= MAX_BUFFERED:
                return items
            # Waiting did not help this time, so wait less for the next hole.
            self._lateness_s = max(self._min_wait_s / 2, self._lateness_s * 0.9)
            items += self._give_up(missing_since)
        self.deadline = None
        return items

    def _play(self, packet: AudioPacket, skipped: int = 0) -> list[Item]:
        """Release the packet whose run begins at `_next`, after gaps for skipped packets and for a pause of the sender."""
        items: list[Item] = self._skip(skipped) if skipped else []
        self._next = (packet.sequence_number + 1) & _SEQUENCE_MASK
        # A packet of padding only probes the path. It has no audio.
        if not packet.payload:
            return items
        self._ticks = packet_ticks(packet.payload) or self._ticks
        pause = (packet.timestamp - self._timestamp) & _TIMESTAMP_MASK
        self._timestamp = (packet.timestamp + self._ticks) & _TIMESTAMP_MASK
        if pause >= _BACKWARDS:
            # The sender's clock was reset, which says nothing about time without audio.
            self.statistics.resyncs += 1
        elif pause:
            # The sender was silent (DTX, or a mute): its clock continued, but its sequence numbers did not.
            items += self._silence(min(pause, MAX_GAP_TICKS))
        return items + self._in_real_time(packet)

    def _in_real_time(self, packet: AudioPacket) -> list[Item]:
        """Return the packet, or nothing if it came much faster than real time."""
        return [packet] if self._clock.play(self._ticks) else []

    def _skip(self, count: int) -> list[Item]:
        """Return the silence of skipped packets, each as long as the last packet."""
        self.statistics.skipped += count
        # The socket may have delivered copies of some of them. If `count` is right, nothing else is buffered in this range.
        for offset in range(count + 1):
            self._runs.pop((self._next + offset) & _SEQUENCE_MASK, None)
        self._timestamp = (self._timestamp + count * self._ticks) & _TIMESTAMP_MASK
        return self._silence(count * self._ticks)

    def _silence(self, ticks: int) -> list[Item]:
        filled = self._clock.fill(ticks)
        return [AudioGap(filled, lost=False)] if filled else []

    def _give_up(self, missing_since: float | None = None) -> list[Item]:
        """Count everything before the nearest buffered run as lost, and return the gap. Does not play that run."""
        nearest = min(self._runs, key=lambda number: (number - self._next) & _SEQUENCE_MASK)
        after, skipped, _ = self._runs[nearest]
        count = (nearest - self._next) & _SEQUENCE_MASK
        self.statistics.lost += count
        self._remember(count, missing_since)
        self._next = nearest
        # How long is the gap? The timestamps on both sides tell it exactly, the number of packets roughly.
        begins = (after.timestamp - skipped * self._ticks) & _TIMESTAMP_MASK
        span = (begins - self._timestamp) & _TIMESTAMP_MASK
        expected = count * self._ticks
        if span >= _BACKWARDS:
            # The sender's clock was reset, so only the number of packets is known.
            ticks, self._timestamp = expected, begins
        else:
            # If much more time passed than the lost packets can fill, the sender was silent as well. That time stays out of
            # this gap and shows when the next packet is played.
            ticks = span if span <= 2 * expected else expected
            self._timestamp = (self._timestamp + ticks) & _TIMESTAMP_MASK
        ticks = self._clock.fill(min(ticks, MAX_GAP_TICKS))
        if ticks == 0:
            return []
        # The packet after the gap may contain a copy of the last lost one (in-band FEC), if it directly follows on it.
        last = min(ticks, self._ticks)
        items: list[Item] = [AudioGap(ticks - last, lost=True)] if ticks > last else []
        adjoins = self._timestamp == begins and after.payload and not skipped
        return [*items, AudioGap(last, lost=True, fec_payload=after.payload if adjoins else None)]

    def _remember(self, count: int, missing_since: float | None) -> None:
        if missing_since is None:
            return
        for offset in range(max(0, count - _REMEMBERED), count):
            self._given_up[(self._next + offset) & _SEQUENCE_MASK] = missing_since
        while len(self._given_up) > _REMEMBERED:
            del self._given_up[next(iter(self._given_up))]

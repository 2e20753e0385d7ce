# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""RTP packets in, packets and gaps in sequence order out. Pure: `now` comes in, the next deadline goes out.

In-order packets pass at once: there is no fixed delay, since captions need order, not an even pace. Only a missing packet is
waited for, 20 to 60 ms, as the reordering seen lately suggests; then everything behind it is released together, so the delay
is back at zero. What cannot be waited for becomes an `AudioGap`. Limits follow RFC 3550, appendix A.1. A packet with others
`skipped` before it stands for all of them: it begins where the first of these would.

Gaps never add up to more than the time that has passed, and packets that arrive much faster than real time are dropped; see
`AudioClock`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from live_transcription.opus.packet import packet_ticks
from live_transcription.types import OPUS_CLOCK_RATE, AudioGap, AudioPacket
from live_transcription.webrtc.audio_clock import AudioClock

Item: TypeAlias = AudioPacket | AudioGap

#: A gap is filled up to one second. Longer silences (a mute) and losses would only cost the speech-to-text time.
MAX_GAP_TICKS = OPUS_CLOCK_RATE
#: Packets held while one is missing. 60 ms are 24 packets of 2.5 ms.
MAX_HELD = 64
#: Sequence jumps beyond these are a restarted sender, not loss or reordering; two packets in a row must agree.
MAX_DROPOUT = 3_000
MAX_MISORDER = 100

_USUAL_TICKS = OPUS_CLOCK_RATE * 20 // 1000
_SEQUENCE_MASK = 0xFFFF
_TIMESTAMP_MASK = 0xFFFF_FFFF
_BACKWARDS = 1 << 31
_REMEMBERED = 64


@dataclass(slots=True)
class JitterStatistics:
    """Counts of packets, except `silences` and `resyncs` (events) and `longest_wait_s`.

    `reordered` came late but in time, `late` after they were given up, `lost` never came or came late, `skipped` was digital
    silence that nobody waited for, `excess` came faster than real time. `fec_offered`: lost packets whose successor was handed
    over with the gap.
    """

    received: int = 0
    reordered: int = 0
    late: int = 0
    duplicates: int = 0
    lost: int = 0
    skipped: int = 0
    excess: int = 0
    fec_offered: int = 0
    silences: int = 0
    resyncs: int = 0
    longest_wait_s: float = 0.0


class JitterBuffer:
    """One publisher's stream. Holds at most `MAX_HELD` packets."""

    def __init__(self, *, min_wait_s: float = 0.02, max_wait_s: float = 0.06) -> None:
        self.statistics = JitterStatistics()
        #: When `poll` has to be called, in the time that `push` was given; None while nothing is missing.
        self.deadline: float | None = None
        self._min_wait_s = min_wait_s
        self._max_wait_s = max_wait_s
        self._lateness_s = min_wait_s
        self._ssrc: int | None = None
        self._next = 0
        self._timestamp = 0
        self._ticks = _USUAL_TICKS
        self._held: dict[int, tuple[AudioPacket, float]] = {}
        self._given_up: dict[int, float] = {}
        self._stray: AudioPacket | None = None
        self._clock = AudioClock()

    @property
    def wait_s(self) -> float:
        """How long a missing packet is waited for at present, in seconds."""
        return min(self._max_wait_s, max(self._min_wait_s, 2 * self._lateness_s))

    def push(self, packet: AudioPacket, ssrc: int, now: float) -> list[Item]:
        """Take a packet. Returns the items that may be played now, in order."""
        self.statistics.received += 1
        self._clock.advance(now)
        if ssrc != self._ssrc:
            return self._restart(ssrc, packet)
        number = self._first_number(packet) if packet.skipped else packet.sequence_number
        if number == self._next:
            self._stray = None
            if not self._held:
                ticks = packet_ticks(packet.payload)
                if ticks is None or packet.timestamp != self._timestamp or packet.skipped:
                    return self._play(packet)
                self._next = (number + 1) & _SEQUENCE_MASK  # what `_play` comes to for nearly all packets
                self._ticks = ticks
                self._timestamp = (packet.timestamp + ticks) & _TIMESTAMP_MASK
                return self._in_time(packet)
            self.statistics.reordered += 1
            self._lateness_s = max(self._lateness_s, now - self._missing_since())
            return self._play(packet) + self._advance(now)
        ahead = (number - self._next) & _SEQUENCE_MASK
        if ahead <= MAX_DROPOUT:
            self._stray = None
            return self._hold(number, packet, now)
        if ahead > _SEQUENCE_MASK - MAX_MISORDER:
            self._too_late(packet.sequence_number, now)
            return []
        return self._suspect(packet)

    def poll(self, now: float) -> list[Item]:
        """The items that may be played at `now`. Call it at `deadline`."""
        if self.deadline is None or now < self.deadline:
            return []
        self._clock.advance(now)
        return self._advance(now)

    def flush(self) -> list[Item]:
        """All remaining items, with gaps for missing packets: nothing more will come."""
        items: list[Item] = []
        while self._held:
            items += self._give_up() if self._next not in self._held else self._play(self._held.pop(self._next)[0])
        self.deadline = None
        return items

    def _restart(self, ssrc: int, *packets: AudioPacket) -> list[Item]:
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

    def _suspect(self, packet: AudioPacket) -> list[Item]:
        stray, self._stray = self._stray, packet
        if stray is None or packet.sequence_number != (stray.sequence_number + 1) & _SEQUENCE_MASK:
            return []
        assert self._ssrc is not None
        return self._restart(self._ssrc, stray, packet)

    def _first_number(self, packet: AudioPacket) -> int:
        """The number of the first packet that this one represents, without those that were received already."""
        missing = (packet.sequence_number - self._next) & _SEQUENCE_MASK
        if missing > MAX_DROPOUT:
            return packet.sequence_number
        return (packet.sequence_number - min(missing, packet.skipped)) & _SEQUENCE_MASK

    def _hold(self, number: int, packet: AudioPacket, now: float) -> list[Item]:
        if number in self._held:
            self.statistics.duplicates += 1
            return []
        self._held[number] = (packet, now)
        return self._advance(now)

    def _too_late(self, sequence_number: int, now: float) -> None:
        missing_since = self._given_up.pop(sequence_number, None)
        if missing_since is None:
            self.statistics.duplicates += 1
            return
        self.statistics.late += 1
        self._lateness_s = min(self._max_wait_s, max(self._lateness_s, now - missing_since))

    def _missing_since(self) -> float:
        """When the hole showed: at the arrival of the first packet from behind it."""
        return min(arrival for _, arrival in self._held.values())

    def _advance(self, now: float) -> list[Item]:
        items: list[Item] = []
        while self._held:
            held = self._held.pop(self._next, None)
            if held is not None:
                self.statistics.longest_wait_s = max(self.statistics.longest_wait_s, now - held[1])
                items += self._play(held[0])
                continue
            missing_since = self._missing_since()
            self.deadline = missing_since + self.wait_s
            if now < self.deadline and len(self._held) <= MAX_HELD:
                return items
            self._lateness_s = max(self._min_wait_s / 2, self._lateness_s * 0.9)
            items += self._give_up(missing_since)
        self.deadline = None
        return items

    def _play(self, packet: AudioPacket) -> list[Item]:
        if packet.skipped:
            self._skip((packet.sequence_number - self._next) & _SEQUENCE_MASK)
        self._next = (packet.sequence_number + 1) & _SEQUENCE_MASK
        if not packet.payload:  # padding only: a probe of the path, no audio
            return []
        self._ticks = packet_ticks(packet.payload) or self._ticks
        silence = (packet.timestamp - self._timestamp) & _TIMESTAMP_MASK
        self._timestamp = (packet.timestamp + self._ticks) & _TIMESTAMP_MASK
        if silence == 0:
            return self._in_time(packet)
        if silence >= _BACKWARDS:
            self.statistics.resyncs += 1
            return self._in_time(packet)
        self.statistics.silences += 1
        filled = self._clock.fill(min(silence, MAX_GAP_TICKS))
        return [*([AudioGap(filled, lost=False)] if filled else []), *self._in_time(packet)]

    def _in_time(self, packet: AudioPacket) -> list[Item]:
        if self._clock.play(self._ticks):
            return [packet]
        self.statistics.excess += 1
        return []

    def _skip(self, count: int) -> None:
        self.statistics.skipped += count
        self._timestamp = (self._timestamp + count * self._ticks) & _TIMESTAMP_MASK
        self._clock.fill(count * self._ticks)
        for offset in range(count + 1):  # copies, if any; nothing else is held there if `skipped` is right
            self._held.pop((self._next + offset) & _SEQUENCE_MASK, None)

    def _give_up(self, missing_since: float | None = None) -> list[Item]:
        """Everything missing before the nearest packet held is lost. Does not play that packet."""
        nearest = min(self._held, key=lambda number: (number - self._next) & _SEQUENCE_MASK)
        after = self._held[nearest][0]
        count = (nearest - self._next) & _SEQUENCE_MASK
        self._remember(count, missing_since)
        self.statistics.lost += count
        skipped = (after.sequence_number - nearest) & _SEQUENCE_MASK
        begins = (after.timestamp - skipped * self._ticks) & _TIMESTAMP_MASK
        span = (begins - self._timestamp) & _TIMESTAMP_MASK
        expected = count * self._ticks
        self._next = nearest
        if span >= _BACKWARDS:  # the sender's clock was reset: only the count tells how long it was
            ticks, self._timestamp = expected, begins
        else:  # where much more time passed than the packets could fill, the sender was also silent
            ticks = span if span <= 2 * expected else expected
            self._timestamp = (self._timestamp + ticks) & _TIMESTAMP_MASK
        ticks = self._clock.fill(min(ticks, MAX_GAP_TICKS))
        if ticks == 0:
            return []
        last = min(ticks, self._ticks)
        items: list[Item] = [AudioGap(ticks - last, lost=True)] if ticks > last else []
        adjoins = self._timestamp == begins and after.payload and not skipped
        self.statistics.fec_offered += bool(adjoins)
        return [*items, AudioGap(last, lost=True, fec_payload=after.payload if adjoins else None)]

    def _remember(self, count: int, missing_since: float | None) -> None:
        if missing_since is None:
            return
        for offset in range(max(0, count - _REMEMBERED), count):
            self._given_up[(self._next + offset) & _SEQUENCE_MASK] = missing_since
        while len(self._given_up) > _REMEMBERED:
            del self._given_up[next(iter(self._given_up))]

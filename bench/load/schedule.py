# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Decides when each packet is sent: absolute deadlines, with the speakers spread over the 20 ms of a packet."""

from __future__ import annotations

import asyncio
import time
from array import array

from bench.common.figures import Lateness
from bench.load.tape import Tape
from sandbox.sfu import Source
from sandbox.sfu.rtp import RtpPacket

#: Deadlines per packet time, 4 ms apart; each speaker belongs to one of them.
SLOTS = 5
PACKET_S = 0.02
_TICKS = 960
_MASK = 0xFFFF_FFFF
#: What a browser sends for a track that is switched off.
_SILENCE, _SILENT_LEVEL = b"\xf8\xff\xfe", 127
_OPUS = 111


def deadline(began: float, tick: int) -> tuple[float, int]:
    """When the tick is due, and the slot that it serves."""
    return began + tick * PACKET_S / SLOTS, tick % SLOTS


class TapePublisher(Source):
    """Somebody's microphone. `silent`: it sends the silence of a track that is switched off.

    `sent_at`: seconds of the monotonic clock for each packet of the tape that was played, from `start` on; None: not noted.
    """

    def __init__(self, number: int, tape: Tape, start: int, *, note: bool) -> None:
        super().__init__(str(number))
        self.number = number
        self.start = start
        self.silent = False
        self.played = 0
        self.sent_at: array[float] | None = array("d") if note else None
        self._tape = tape
        self._sequence_number = number * 7919 & 0xFFFF
        self._clock_offset = number * 104_729

    def send(self, packet_number: int, now: float) -> None:
        """The RTP clock follows the schedule, so that after a pause it has gone on."""
        if self.silent:
            payload, level = _SILENCE, _SILENT_LEVEL
        else:
            position = (self.start + self.played) % len(self._tape)
            payload, level = self._tape.payloads[position], self._tape.levels[position]
            self.played += 1
            if self.sent_at is not None:
                self.sent_at.append(now)
        self.packets += 1
        self._sequence_number = (self._sequence_number + 1) & 0xFFFF
        if self.listeners:
            timestamp = (self._clock_offset + packet_number * _TICKS) & _MASK
            packet = RtpPacket(_OPUS, False, self._sequence_number, timestamp, level, payload)
            for listener in tuple(self.listeners):
                listener(packet)


class Schedule:
    """Sends for all who speak. `lateness`: how far behind its deadline each tick began; `packets`: how many went out."""

    def __init__(self) -> None:
        self.lateness = Lateness()
        self.packets = 0
        self._slots: list[set[TapePublisher]] = [set() for _ in range(SLOTS)]

    def add(self, publisher: TapePublisher) -> None:
        """Harmless for one who speaks already."""
        self._slots[publisher.number % SLOTS].add(publisher)

    def remove(self, publisher: TapePublisher) -> None:
        self._slots[publisher.number % SLOTS].discard(publisher)

    async def run(self) -> None:
        """Runs until cancelled. Late entries are sent late; none is left out."""
        began, tick = time.monotonic(), 0
        while True:
            due, slot = deadline(began, tick)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            if self._slots[slot]:
                self.lateness.add(max(0.0, now - due))
            for publisher in tuple(self._slots[slot]):
                publisher.send(tick // SLOTS, time.monotonic())
                self.packets += 1
            tick += 1

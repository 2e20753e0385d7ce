# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""RTCP receiver reports (RFC 3550, section 6.4.2 and appendix A). Pure."""

from __future__ import annotations

import secrets
from struct import Struct

from live_transcription.types import OPUS_CLOCK_RATE

_SENDER_REPORT = 200
_RECEIVER_REPORT = 201
_SOURCE_DESCRIPTION = 202
_CNAME = 1
_HEADER = Struct("!BBH")
_BLOCK = Struct("!IB3sIIII")


class ReceptionReporter:
    """Counts the packets of one source for receiver reports. A new SSRC resets the counts. Times are in seconds."""

    def __init__(self) -> None:
        self.ssrc = secrets.randbits(32)
        self._cname = secrets.token_hex(8).encode()
        self._start(None, 0)

    def _start(self, source: int | None, sequence_number: int) -> None:
        self._source = source
        self._first = self._highest = sequence_number
        self._next = sequence_number
        self._received = 0
        self._jitter = 0.0
        self._transit: float | None = None
        self._expected_before = self._received_before = 0
        self._last_report = 0
        self._last_report_at = 0.0

    def received(self, ssrc: int, sequence_number: int, timestamp: int, now: float, skipped: int = 0) -> None:
        """Count one RTP packet, and the `skipped` ones right before it that the socket's filter dropped on purpose."""
        if ssrc != self._source:
            self._start(ssrc, sequence_number)
        self._received += 1 + skipped
        if sequence_number == self._next:  # nearly always the case
            ahead = 1 if self._received > 1 else 0
        else:
            ahead = ((sequence_number - self._highest + 0x8000) & 0xFFFF) - 0x8000
            if ahead < 0:
                return
        self._highest += ahead
        self._next = (sequence_number + 1) & 0xFFFF
        transit = now * OPUS_CLOCK_RATE - timestamp
        if self._transit is not None:
            difference = abs(transit - self._transit)
            if difference < OPUS_CLOCK_RATE:  # more means that the timestamp has wrapped or jumped
                self._jitter += (difference - self._jitter) / 16
        self._transit = transit

    def sender_report(self, data: bytes, now: float) -> None:
        """Process a compound RTCP packet: remember the source's sender report, ignore anything else."""
        position = 0
        while position + 28 <= len(data):
            _, kind, length = _HEADER.unpack_from(data, position)
            ssrc = int.from_bytes(data[position + 4 : position + 8])
            if kind == _SENDER_REPORT and ssrc == self._source:
                self._last_report = int.from_bytes(data[position + 10 : position + 14])
                self._last_report_at = now
            position += 4 * (length + 1)

    def report(self, now: float) -> bytes:
        """Build a compound packet of a receiver report and a source description."""
        block = b"" if self._source is None else self._block(self._source, now)
        report = _HEADER.pack(0x80 | bool(block), _RECEIVER_REPORT, 1 + len(block) // 4) + self.ssrc.to_bytes(4) + block
        chunk = self.ssrc.to_bytes(4) + bytes((_CNAME, len(self._cname))) + self._cname + b"\0"
        chunk += bytes(-len(chunk) % 4)
        return report + _HEADER.pack(0x81, _SOURCE_DESCRIPTION, len(chunk) // 4) + chunk

    def _block(self, source: int, now: float) -> bytes:
        expected = self._highest - self._first + 1
        lost = max(-0x80_0000, min(0x7F_FFFF, expected - self._received))
        expected_since = expected - self._expected_before
        lost_since = expected_since - (self._received - self._received_before)
        self._expected_before, self._received_before = expected, self._received
        fraction = min(255, (lost_since << 8) // expected_since) if expected_since > 0 and lost_since > 0 else 0
        delay = int((now - self._last_report_at) * 65_536) & 0xFFFF_FFFF if self._last_report else 0
        highest = self._highest & 0xFFFF_FFFF
        cumulative = lost.to_bytes(3, signed=True)
        return _BLOCK.pack(source, fraction, cumulative, highest, int(self._jitter), self._last_report, delay)

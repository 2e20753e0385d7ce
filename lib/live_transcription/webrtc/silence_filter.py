# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Keep digital silence in the kernel: a muted publisher that still sends 50 packets/s wakes us 3 times/s.

While a source sends nothing but digital silence, its socket gets a BPF filter (Linux, socket(7)) that lets one packet in 16
pass. These packets keep SRTP's rollover counter (RFC 3711, section 3.3.1), the supervision of the path and the receiver reports
going. The filter passes whatever it does not recognise with certainty, and the first packet that is not silence removes it. A
forged packet can only keep itself out.
"""

from __future__ import annotations

import logging
import struct
import sys
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from live_transcription.types import DIGITAL_SILENCE, AudioPacket
from live_transcription.webrtc.bpf import INSTRUCTION_OCTETS, LENGTH_TOLERANCE, ONE_IN, digital_silence_program

logger = logging.getLogger(__name__)

#: Seconds of digital silence before the filter is attached. By then the audio pipeline is idle, too.
AFTER_S = 2.0
#: Minimum number of packets in that time. If a source sends fewer, one in 16 comes so rarely that the source seems lost.
MIN_PACKETS = 32
#: The packets that pass arrive near multiples of this, in seconds, so that one wake-up serves many sources at half the cost.
_SLOT_S = ONE_IN * 0.02
#: After so many seconds without a packet, the source counts as one that sends few.
_SPARSE_S = 1.5
#: The filter never causes more missing packets than this in a row. More are an outage, or a sender that restarted its numbers.
_MAX_MISSING = 64
#: A packet from up to so far back is a late one or a duplicate, and changes nothing.
_MAX_LATE = 100
#: How long packets may have waited in the socket before they are read, in seconds, under load.
_UNREAD_S = 0.25

# linux/socket.h; Python has no names for them.
_SOL_SOCKET, _SO_ATTACH_FILTER, _SO_DETACH_FILTER = 1, 26, 27


class FilteredSocket(Protocol):
    """A UDP socket, or asyncio's wrapper of one."""

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...


def attach(sock: FilteredSocket, program: bytes) -> None:
    """Attach a BPF program to the socket, or replace the attached one. Raises OSError if the system does not support it."""
    if sys.platform != "linux":
        raise OSError("socket filters need Linux")
    code = array("B", program)
    address, octets = code.buffer_info()
    sock.setsockopt(_SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", octets // INSTRUCTION_OCTETS, address))


def detach(sock: FilteredSocket) -> None:
    """Remove the socket's BPF program. Raises OSError if there is none."""
    sock.setsockopt(_SOL_SOCKET, _SO_DETACH_FILTER, 0)


class SilenceFilter:
    """Decides when one source's socket is filtered, and computes how many packets the filter has dropped.

    `chosen_socket` returns the UDP socket that the packets come from, or None if they come over a relay, which wraps them.
    """

    def __init__(self, chosen_socket: Callable[[], FilteredSocket | None]) -> None:
        #: Whether `observe` needs every packet, not only those of digital silence.
        self.watching = False
        self._chosen_socket = chosen_socket
        self._attached: FilteredSocket | None = None
        self._level_id: int | None = None
        self._unsupported = False
        # Whether packets after `_last` may have been dropped.
        self._dropping = False
        # Whether the previous packet was the sound that removed the filter.
        self._sounded = False
        self._unread_until = 0.0
        # The current run of silence: source, first two RTP octets, length, start, number of packets, and the last packet.
        self._ssrc = self._octets = self._packets = self._last = self._phase = 0
        self._first_two = b""
        self._since = self._last_at = 0.0

    @property
    def attached(self) -> bool:
        """Whether the socket is filtered at present."""
        return self._attached is not None

    def configure(self, level_id: int | None) -> None:
        """Set the negotiated id of the audio level, None if there is none. Packets may look different from now on."""
        self._level_id = level_id
        self._detach()

    def observe(self, ssrc: int, packet: AudioPacket, datagram: bytes | memoryview, octets: int, now: float) -> int:
        """Return how many packets of digital silence were dropped right before this one, at most 15.

        Call it with each authentic packet of digital silence, and with every packet while `watching`. `datagram` begins with
        the RTP header and was `octets` long on the wire.
        """
        number, skipped = packet.sequence_number, 0
        silent = packet.audio_level == DIGITAL_SILENCE
        same = ssrc == self._ssrc and datagram[:2] == self._first_two and abs(octets - self._octets) <= LENGTH_TOLERANCE
        if self._dropping and ssrc == self._ssrc:
            ahead = (number - self._last) & 0xFFFF
            if not 0 < ahead <= 0xFFFF - _MAX_LATE:
                # Late or a duplicate: it says nothing about what was dropped.
                if not silent:
                    self._detach()
                return 0
            # The filter drops all packets after the last one that equals `_phase`. Whatever is missing before that is lost.
            # Between two packets of sound nothing is dropped.
            if silent or not self._sounded:
                skipped = min(ahead - 1, (number - 1 - self._phase) % ONE_IN)
            same = same and ahead <= _MAX_MISSING and now - self._last_at <= _SPARSE_S
        # Silence that reached the socket after this sound but before now was still dropped. The next packet will show it.
        if self._attached is not None and not silent:
            self._unread_until = now + _UNREAD_S
        self._sounded = not silent and now < self._unread_until and ssrc == self._ssrc
        if not silent or not same:
            self._detach()
            self._dropping = self._sounded
        self.watching = silent or self._sounded
        if not silent:
            self._last = number
            return skipped
        # A packet of silence: it continues the run or begins a new one.
        if not same:
            self._ssrc, self._first_two, self._octets = ssrc, bytes(datagram[:2]), octets
            self._since, self._packets = now, -1
        self._packets += 1
        self._last, self._last_at = number, now
        if self._attached is None and now - self._since >= AFTER_S:
            if self._packets >= MIN_PACKETS:
                interval_s = (now - self._since) / self._packets
                self._phase = (number + round(-now % _SLOT_S / interval_s)) % ONE_IN
                self._attach(datagram, octets)
            self._since, self._packets = now, 0
        return skipped

    def _attach(self, datagram: bytes | memoryview, octets: int) -> None:
        if self._level_id is None or self._unsupported:
            return
        program = digital_silence_program(datagram, octets, self._level_id, self._phase)
        sock = self._chosen_socket()
        if program is None or sock is None:
            return
        try:
            attach(sock, program)
        except OSError as error:
            self._unsupported = True
            logger.debug("Digital silence is received like any other audio, since sockets cannot be filtered (%s)", error)
            return
        self._attached = sock
        self._dropping = True

    def _detach(self) -> None:
        # `_dropping` is unchanged: the next packet shows what was dropped before.
        self._first_two = b""
        if self._attached is not None:
            with suppress(OSError):  # the socket was closed in the meantime
                detach(self._attached)
            self._attached = None

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Digital silence stays in the kernel: who is muted but sends 50 packets a second wakes us three times a second instead.

While a source sends nothing but digital silence, its socket gets a classic BPF filter (Linux, socket(7)), which lets one
packet in 16 through: that keeps SRTP's rollover counter (RFC 3711, section 3.3.1), the watch over the path and the reports
going. SRTP leaves header extensions in the clear, so the kernel can read the audio level (RFC 6464); a forged packet could only
keep itself out. Whatever the filter does not know for certain, it lets through, and the first packet that is not silence
ends it.
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

logger = logging.getLogger(__name__)

#: Digital silence lasts so long before it is kept away, in seconds; those who take the audio rest by then, too.
AFTER_S = 2.0
#: Packets in that time, at least: from who sends fewer, one in 16 would come so seldom that the source seems lost.
LEAST_PACKETS = 32
#: The sequence numbers that come through are so far apart; a power of two.
ONE_IN = 16
#: Where a source's numbers begin to count is chosen so that these packets come at multiples of this, in seconds: one wake-up
#: serves many sources, at half of the cost.
_SLOT_S = ONE_IN * 0.02
#: Without a packet for so long, in seconds, the source has become one that sends few.
_FEW_S = 1.5
#: Packets of digital silence are all of the same length but for this many octets. Sound with a wrong level is longer.
_LENGTH_VARIES = 4
#: More missing at once is not what the filter does: an outage, or a sender that counts anew.
_MOST_MISSING = 64
#: A packet from so far back, or a second copy, changes nothing.
_MOST_LATE = 100
_MOST_ELEMENTS = 8
#: How long datagrams may wait in the socket before they are read, in seconds, while much is to be done.
_UNREAD_S = 0.25

# linux/socket.h and linux/bpf_common.h; Python has no names for them.
_SOL_SOCKET, _SO_ATTACH_FILTER, _SO_DETACH_FILTER = 1, 26, 27
_LOAD_WORD, _LOAD_HALF, _LOAD_OCTET, _LOAD_LENGTH = 0x20, 0x28, 0x30, 0x80
_AND, _JUMP_EQUAL, _JUMP_GREATER, _RETURN = 0x54, 0x15, 0x25, 0x06
_INSTRUCTION = struct.Struct("HBBI")
_WHOLE = 0xFFFF_FFFF

#: The filter sees a datagram from its UDP header on.
_RTP = 8
#: Version 2 and an extension; no padding, no contributing sources.
_FIRST_OCTET = 0x90
_ONE_BYTE_PROFILE = 0xBEDE
#: Where the elements of the extension begin in such a packet.
_ELEMENTS = 16


class FilteredSocket(Protocol):
    """A UDP socket, or asyncio's view of it."""

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...


def silence_program(datagram: bytes | memoryview, octets: int, level_id: int, phase: int) -> bytes | None:
    """The filter that drops packets of digital silence like this one, but for each 16th sequence number from `phase` on.

    `datagram` begins with the RTP header and was `octets` long on the wire. Gives an array of `struct sock_filter`; None unless
    the header is a plain one and its extension of the one-byte form (RFC 8285) says digital silence.
    """
    if len(datagram) < _ELEMENTS or datagram[0] != _FIRST_OCTET or 192 <= datagram[1] <= 223:
        return None
    first_two, ssrc, profile, words = struct.unpack_from("!H6xIHH", datagram)
    end = _ELEMENTS + 4 * words
    if profile != _ONE_BYTE_PROFILE or end > min(octets, len(datagram)):
        return None
    position = _ELEMENTS
    same: list[tuple[int, int]] = []  # octets that make sure where an element begins
    while position + 1 < end:
        octet = datagram[position]
        same.append((position, octet))
        if octet >> 4 == level_id:
            break
        if len(same) > _MOST_ELEMENTS or octet >> 4 == 15 or 0 < octet < 16:
            return None
        position += 2 + (octet & 0x0F) if octet else 1
    else:
        return None
    level = datagram[position + 1]
    if datagram[position] & 0x0F or level & 0x7F != DIGITAL_SILENCE:
        return None
    # What is loaded and compared, and whether that has to hold; else the datagram passes. A load from beyond its end would
    # drop it, so its length comes first.
    length = _instruction(_LOAD_LENGTH)
    number = _instruction(_LOAD_HALF, _RTP + 2) + _instruction(_AND, ONE_IN - 1)
    tests = [
        (length, _JUMP_GREATER, _RTP + end - 1, True),
        (length, _JUMP_GREATER, _RTP + octets + _LENGTH_VARIES, False),
        (_instruction(_LOAD_HALF, _RTP), _JUMP_EQUAL, first_two, True),
        (number, _JUMP_EQUAL, phase % ONE_IN, False),
        (_instruction(_LOAD_WORD, _RTP + 8), _JUMP_EQUAL, ssrc, True),
        (_instruction(_LOAD_WORD, _RTP + 12), _JUMP_EQUAL, profile << 16 | words, True),
    ]
    for at, octet in (*same, (position + 1, level)):
        tests.append((_instruction(_LOAD_OCTET, _RTP + at), _JUMP_EQUAL, octet, True))
    program = _instruction(_RETURN, 0) + _instruction(_RETURN, _WHOLE)
    for load, jump, operand, holds in reversed(tests):
        passes = len(program) // _INSTRUCTION.size - 1
        program = load + _instruction(jump, operand, *((0, passes) if holds else (passes, 0))) + program
    return program


def _instruction(code: int, operand: int = 0, if_true: int = 0, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, operand)


def attach(sock: FilteredSocket, program: bytes) -> None:
    """Set or replace the socket's filter. Raises OSError where the system has none."""
    if sys.platform != "linux":
        raise OSError("only Linux filters sockets in this way")
    code = array("B", program)
    address, octets = code.buffer_info()
    sock.setsockopt(_SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", octets // _INSTRUCTION.size, address))


def detach(sock: FilteredSocket) -> None:
    """Raises OSError where there is no filter."""
    sock.setsockopt(_SOL_SOCKET, _SO_DETACH_FILTER, 0)


class SilenceFilter:
    """Decides when the socket of one source is filtered, and knows what was kept away.

    `chosen_socket` gives the UDP socket that the packets come from, None where they come in another way.
    """

    __slots__ = (
        "_attached",
        "_chosen_socket",
        "_filtered",
        "_first_two",
        "_heard_at",
        "_last",
        "_level_id",
        "_octets",
        "_packets",
        "_phase",
        "_refused",
        "_since",
        "_sounded",
        "_ssrc",
        "_unread_until",
        "watching",
    )

    def __init__(self, chosen_socket: Callable[[], FilteredSocket | None]) -> None:
        #: Whether `observe` has to see every packet, not only those of digital silence.
        self.watching = False
        self._chosen_socket = chosen_socket
        self._attached: FilteredSocket | None = None
        self._filtered = False  # whether packets behind `_last` may have been kept away
        self._level_id: int | None = None
        self._sounded = False  # whether it was sound that took the filter off, just now
        self._refused = False
        # Of the silence that is watched: what its packets have in common, since when, how many since then, and the last one.
        self._ssrc = self._octets = self._packets = self._last = self._phase = 0
        self._first_two = b""
        self._since = self._heard_at = self._unread_until = 0.0

    @property
    def attached(self) -> bool:
        return self._attached is not None

    def configure(self, level_id: int | None) -> None:
        """The id of the audio level was negotiated, perhaps anew, so that packets may look otherwise now."""
        self._level_id = level_id
        self._detach()

    def observe(self, ssrc: int, packet: AudioPacket, datagram: bytes | memoryview, octets: int, now: float) -> int:
        """How many packets of digital silence right before this authentic one were kept away, at most 15.

        `datagram` and `octets` as in `silence_program`. To be called with each packet of digital silence, and with every
        packet while `watching`.
        """
        number, skipped = packet.sequence_number, 0
        silent = packet.audio_level == DIGITAL_SILENCE
        same = ssrc == self._ssrc and datagram[:2] == self._first_two and abs(octets - self._octets) <= _LENGTH_VARIES
        if self._filtered and ssrc == self._ssrc:
            ahead = (number - self._last) & 0xFFFF
            if not 0 < ahead <= 0xFFFF - _MOST_LATE:
                if not silent:
                    self._detach()
                return 0
            if silent or not self._sounded:
                skipped = min(ahead - 1, (number - 1 - self._phase) % ONE_IN)
            same = same and ahead <= _MOST_MISSING and now - self._heard_at <= _FEW_S
        # Silence that came to the socket between this sound and now was still kept away, which the next packet will show.
        if self._attached is not None and not silent:
            self._unread_until = now + _UNREAD_S
        self._sounded = not silent and now < self._unread_until and ssrc == self._ssrc
        if not silent or not same:
            self._detach()
            self._filtered = self._sounded
        self.watching = silent or self._sounded
        if not silent:
            self._last = number
            return skipped
        if not same:
            self._ssrc, self._first_two, self._octets = ssrc, bytes(datagram[:2]), octets
            self._since, self._packets = now, -1
        self._packets += 1
        self._last, self._heard_at = number, now
        if self._attached is None and now - self._since >= AFTER_S:
            if self._packets >= LEAST_PACKETS:
                between_s = (now - self._since) / self._packets
                self._phase = (number + round(-now % _SLOT_S / between_s)) % ONE_IN
                self._attach(datagram, octets)
            self._since, self._packets = now, 0
        return skipped

    def _attach(self, datagram: bytes | memoryview, octets: int) -> None:
        program = None if self._level_id is None else silence_program(datagram, octets, self._level_id, self._phase)
        sock = self._chosen_socket()
        if program is None or sock is None or self._refused:
            return
        try:
            attach(sock, program)
        except OSError as error:
            self._refused = True
            logger.debug("Digital silence is received like anything else: the socket takes no filter (%s)", error)
            return
        self._attached = sock
        self._filtered = True

    def _detach(self) -> None:
        """What was kept away before is still to be told with the next packet, so `_filtered` stays."""
        self._first_two = b""
        if self._attached is not None:
            with suppress(OSError):  # closed meanwhile
                detach(self._attached)
            self._attached = None

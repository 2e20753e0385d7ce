# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""RTP packets for a forwarder (RFC 3550, RFC 8285): it rewrites the header and keeps the payload."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = struct.Struct("!BBHLL")
_EXTENSION = struct.Struct("!HH")
_ONE_BYTE_PROFILE = 0xBEDE


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """`audio_level` is the whole byte of RFC 6464 (voice activity bit and level), None without the extension."""

    payload_type: int
    marker: bool
    sequence_number: int
    timestamp: int
    audio_level: int | None
    payload: bytes


def parse_rtp(datagram: bytes, audio_level_id: int | None) -> RtpPacket | None:
    """The packet in an unprotected datagram, or None where it is malformed."""
    if len(datagram) < _HEADER.size:
        return None
    first, second, sequence_number, timestamp, _ = _HEADER.unpack_from(datagram)
    if first >> 6 != 2:
        return None
    offset = _HEADER.size + 4 * (first & 0x0F)
    level = None
    if first & 0x10:
        if len(datagram) < offset + 4:
            return None
        profile, words = _EXTENSION.unpack_from(datagram, offset)
        offset += 4
        end = offset + 4 * words
        if audio_level_id is not None and profile == _ONE_BYTE_PROFILE:
            level = _one_byte_extension(datagram[offset:end], audio_level_id)
        offset = end
    end = len(datagram)
    if first & 0x20:
        end -= datagram[-1]
    if offset > end:
        return None
    return RtpPacket(second & 0x7F, bool(second & 0x80), sequence_number, timestamp, level, datagram[offset:end])


def _one_byte_extension(elements: bytes, wanted: int) -> int | None:
    position = 0
    while position < len(elements):
        head = elements[position]
        if head == 0:
            position += 1
            continue
        if head >> 4 == wanted:
            return elements[position + 1] if position + 1 < len(elements) else None
        position += 2 + (head & 0x0F)
    return None


def build_rtp(packet: RtpPacket, *, payload_type: int, sequence_number: int, ssrc: int, audio_level_id: int | None) -> bytes:
    """The same packet for another stream; the audio level goes along where that stream negotiated the extension."""
    second = payload_type | (0x80 if packet.marker else 0)
    if packet.audio_level is None or audio_level_id is None:
        return _HEADER.pack(0x80, second, sequence_number, packet.timestamp, ssrc) + packet.payload
    element = bytes((audio_level_id << 4, packet.audio_level, 0, 0))
    header = _HEADER.pack(0x90, second, sequence_number, packet.timestamp, ssrc)
    return header + _EXTENSION.pack(_ONE_BYTE_PROFILE, 1) + element + packet.payload

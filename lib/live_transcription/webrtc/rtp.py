# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Parse RTP headers (RFC 3550, section 5.1; RFC 8285) as far as audio needs it, and select one source. Pure."""

from __future__ import annotations

from struct import Struct

from live_transcription.types import AudioPacket

_unpack_header = Struct("!BBHII").unpack_from
_unpack_extension = Struct("!HH").unpack_from
_ONE_BYTE_PROFILE = 0xBEDE
_TWO_BYTE_PROFILE = 0x1000


class MalformedRtp(ValueError):
    """The datagram is not an RTP packet."""


def parse_rtp(data: bytes, payload_types: frozenset[int], audio_level_id: int | None) -> tuple[int, AudioPacket] | None:
    """Return the SSRC and the packet without padding, or None if it has another payload type. Raises MalformedRtp.

    `audio_level_id` is the id of the audio level extension (RFC 6464), None if it was not negotiated.
    """
    if len(data) < 12:
        raise MalformedRtp
    first, second, sequence_number, timestamp, ssrc = _unpack_header(data)
    if first >> 6 != 2:
        raise MalformedRtp
    if second & 0x7F not in payload_types:
        return None
    start, end = 12 + 4 * (first & 0x0F), len(data)
    level = None
    if first & 0x10:
        if end < start + 4:
            raise MalformedRtp
        profile, words = _unpack_extension(data, start)
        extension_end = start + 4 + 4 * words
        if end < extension_end:
            raise MalformedRtp
        if audio_level_id is not None and words:
            if profile == _ONE_BYTE_PROFILE and data[start + 4] >> 4 == audio_level_id != 15:  # nearly always the first element
                level = data[start + 5] & 0x7F
            else:
                level = _audio_level(data, start + 4, extension_end, profile, audio_level_id)
        start = extension_end
    if first & 0x20:
        end -= data[-1]
        if data[-1] == 0:
            raise MalformedRtp
    if end < start:
        raise MalformedRtp
    return ssrc, AudioPacket(data[start:end], sequence_number, timestamp, level)


def _audio_level(data: bytes, position: int, end: int, profile: int, wanted: int) -> int | None:
    """Find the audio level (RFC 6464) among the elements of a header extension, without its top bit (voice activity)."""
    if profile == _ONE_BYTE_PROFILE:
        while position + 1 < end:
            identifier, length = data[position] >> 4, (data[position] & 0x0F) + 1
            if identifier == 15:
                return None
            if data[position] == 0:
                position += 1
                continue
            if identifier == wanted:
                return data[position + 1] & 0x7F
            position += 1 + length
    elif profile & 0xFFF0 == _TWO_BYTE_PROFILE:
        while position + 2 < end:
            if data[position] == 0:
                position += 1
                continue
            if data[position] == wanted and data[position + 1] > 0:
                return data[position + 2] & 0x7F
            position += 2 + data[position + 1]
    return None


class SourceLatch:
    """Selects one SSRC, since two interleaved sources would look like a sender that restarts with each packet.

    An SSRC that the SDP announces replaces one that it does not. Any other replaces the current one only after `silent_after_s`
    seconds without its packets.
    """

    def __init__(self, *, silent_after_s: float = 1.0) -> None:
        self.announced: frozenset[int] = frozenset()
        self._silent_after_s = silent_after_s
        self._ssrc: int | None = None
        self._last_at = 0.0

    def accepts(self, ssrc: int, now: float) -> bool:
        """Return whether to use a packet of this SSRC that arrives at `now`."""
        if ssrc != self._ssrc:
            known = self._ssrc is None or (ssrc in self.announced and self._ssrc not in self.announced)
            if not known and now - self._last_at < self._silent_after_s:
                return False
            self._ssrc = ssrc
        self._last_at = now
        return True

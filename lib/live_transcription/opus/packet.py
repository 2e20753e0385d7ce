# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The duration of an Opus packet, from its first octets (RFC 6716, section 3.1). Pure."""

from __future__ import annotations

from live_transcription.types import OPUS_CLOCK_RATE

#: Maximum duration of a packet: 120 ms (RFC 6716, section 3.2.5, R5).
MAX_PACKET_TICKS = OPUS_CLOCK_RATE * 120 // 1000


def _frame_ticks(first: int) -> int:
    config = first >> 3
    if config < 12:
        return (480, 960, 1920, 2880)[config & 3]
    if config < 16:
        return (480, 960)[config & 1]
    return (120, 240, 480, 960)[config & 3]


#: Duration by first octet; 0 if the second octet has the number of frames.
_TICKS = tuple((0 if first & 3 == 3 else _frame_ticks(first) * (1 if first & 3 == 0 else 2)) for first in range(256))


def packet_ticks(payload: bytes) -> int | None:
    """Return a packet's duration in 48 kHz ticks, None if it is malformed."""
    if not payload:
        return None
    if ticks := _TICKS[payload[0]]:
        return ticks
    count = payload[1] & 0x3F if len(payload) > 1 else 0
    ticks = count * _frame_ticks(payload[0])
    return ticks if 0 < ticks <= MAX_PACKET_TICKS else None

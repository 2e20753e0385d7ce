# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Packets of digital silence, and real sockets to send them through."""

from __future__ import annotations

import socket
import struct

LEVEL_ID, SSRC, PAYLOAD_TYPE = 5, 0x1234_5678, 111
SILENT = b"\x50\x7f\x00\x00"
LOUD = b"\x50\x1e\x00\x00"


def rtp(
    number: int = 1, *, elements: bytes = SILENT, payload: bytes = b"\xf8\xff\xfe" + bytes(10), first: int = 0x90,
    second: int = PAYLOAD_TYPE, ssrc: int = SSRC, profile: int = 0xBEDE,
) -> bytes:  # fmt: skip
    header = struct.pack(
        "!BBHIIHH", first, second, number & 0xFFFF, number * 960 & 0xFFFF_FFFF, ssrc, profile, len(elements) // 4
    )
    return header + elements + payload


class Path:
    """A receiving and a sending socket. On loopback a datagram has arrived, or is dropped, when `sendto` returns."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.receiver = socket.socket(family, socket.SOCK_DGRAM)
        self.sender = socket.socket(family, socket.SOCK_DGRAM)
        self.receiver.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        self.receiver.setblocking(False)

    def send(self, datagram: bytes) -> bool:
        """Send a datagram. Return whether it arrives complete."""
        self.sender.sendto(datagram, self.receiver.getsockname())
        try:
            came = self.receiver.recv(4_096)
        except BlockingIOError:
            return False
        assert came == datagram
        return True

    def close(self) -> None:
        self.receiver.close()
        self.sender.close()

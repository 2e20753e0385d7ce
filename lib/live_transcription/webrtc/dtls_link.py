# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Between aiortc's DTLS transport and ICE: a bounded queue of datagrams, and a first flight that is not lost for a second."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from live_transcription.webrtc.ice_connection import IceConnection

_MAX_DATAGRAMS = 64
#: A DTLS record with an unencrypted alert (RFC 6347, section 4.1; RFC 5246, section 7.2).
_ALERT = 21
_ALERT_OCTETS = 15
#: When our first flight is sent again, in seconds after the one before; DTLS itself does so after one second.
_REPEAT_S = (0.05, 0.1, 0.2, 0.4)


class DtlsLink:
    """What `RTCDtlsTransport` needs of an ICE transport."""

    def __init__(self, connection: IceConnection) -> None:
        self._connection = connection
        self._datagrams: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_DATAGRAMS)
        self.closed = False
        #: The number of the last unencrypted alert of the SFU, which it sends when it ends a handshake.
        self.alert: int | None = None
        self._answered = False
        self._flight: bytes | None = None

    @property
    def role(self) -> str:
        return "controlling" if self._connection.ice_controlling else "controlled"

    def put(self, data: bytes | None) -> None:
        """None: the path is lost. When the queue is full the datagram is dropped; DTLS repeats it."""
        self._answered = True
        self.closed |= data is None
        if data is not None and len(data) == _ALERT_OCTETS and data[0] == _ALERT:
            self.alert = data[-1]
        if not self._datagrams.full():
            self._datagrams.put_nowait(data)

    async def repeat_first_flight(self) -> None:
        """Send our ClientHello again until the SFU answers.

        The SFU may notice a moment after us that ICE is done, and Janus drops earlier datagrams. The copy is exact, so a server
        that has the first one discards it by its record number (RFC 6347, section 4.1.2.6).
        """
        for wait_s in _REPEAT_S:
            await asyncio.sleep(wait_s)
            if self._answered or self._flight is None:
                return
            with suppress(ConnectionError, OSError):
                await self._connection.send(self._flight)

    async def _recv(self) -> bytes:
        if self.closed and self._datagrams.empty():
            raise ConnectionError("ICE is closed")
        data = await self._datagrams.get()
        if data is None:
            raise ConnectionError("ICE is closed")
        return data

    async def _send(self, data: bytes) -> None:
        if not self._answered:
            self._flight = data
        await self._connection.send(data)

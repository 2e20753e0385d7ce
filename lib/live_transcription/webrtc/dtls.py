# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""DTLS-SRTP (RFC 5764) over our ICE connection, by aiortc's handshake.

The only file that uses private names of aiortc and pylibsrtp. `tests/unit/webrtc/test_private_names.py` fails when they change.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar, Self

from aiortc import rtcdtlstransport as aiortc_dtls
from OpenSSL import SSL
from pylibsrtp._binding import lib as srtp

from live_transcription.errors import NoMediaPath
from live_transcription.webrtc.ice_connection import IceConnection
from live_transcription.webrtc.recvmmsg import Datagram

#: aiortc's cipher suites, and the same suites for an SFU whose certificate has an RSA key.
_CIPHERS = b":".join(
    b"ECDHE-%s-%s" % (key, suite)
    for suite in (b"AES128-GCM-SHA256", b"CHACHA20-POLY1305", b"AES128-SHA", b"AES256-SHA")
    for key in (b"ECDSA", b"RSA")
)
_RENEW_BEFORE = datetime.timedelta(days=7)
#: A DTLS record with an unencrypted alert (RFC 6347, section 4.1; RFC 5246, section 7.2).
_ALERT = 21
_ALERT_OCTETS = 15
#: Alerts about ciphers and certificates (RFC 5246, section 7.2.2).
_CERTIFICATE_ALERTS = frozenset((40, 42, 43, 44, 45, 46, 48, 71))
_MAX_DATAGRAMS = 64
#: Seconds between the transmissions of our first flight. DTLS itself would wait for one second.
_REPEAT_S = (0.05, 0.1, 0.2, 0.4)


class Certificate(aiortc_dtls.RTCCertificate):
    """The certificate and SSL context for all peers of this process, which halves the cost of a new peer."""

    _current: ClassVar[Certificate | None] = None
    _context: SSL.Context | None = None

    @classmethod
    def current(cls) -> Self:
        """Return the process's certificate. It is replaced a week before it expires."""
        certificate = cls._current
        if not isinstance(certificate, cls) or certificate.expires - datetime.datetime.now(datetime.UTC) < _RENEW_BEFORE:
            certificate = cls.generateCertificate()
            cls._current = certificate
        return certificate

    def _create_ssl_context(self, srtp_profiles: list[aiortc_dtls.SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
            self._context.set_cipher_list(_CIPHERS)
            self._context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 17 KB per peer, which is idle after the handshake
        return self._context


class DtlsLink:
    """The ICE transport that `RTCDtlsTransport` expects: a bounded queue of datagrams, and a path to send on.

    It also sends our first flight again, since that may be lost.
    """

    def __init__(self, connection: IceConnection) -> None:
        self._connection = connection
        self._datagrams: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_DATAGRAMS)
        #: Whether the path is lost.
        self.closed = False
        #: The number of the SFU's last unencrypted alert, which ends a handshake.
        self.alert: int | None = None
        self._answered = False
        self._first_flight: bytes | None = None

    @property
    def role(self) -> str:
        """The ICE role. RTCDtlsTransport derives the DTLS role from it if none was set."""
        return "controlling" if self._connection.ice_controlling else "controlled"

    def put(self, data: bytes | None) -> None:
        """Queue a datagram of the SFU; None means that the path is lost. A full queue drops it, and DTLS repeats it."""
        self._answered = True
        self.closed |= data is None
        if data is not None and len(data) == _ALERT_OCTETS and data[0] == _ALERT:
            self.alert = data[-1]
        if not self._datagrams.full():
            self._datagrams.put_nowait(data)

    async def repeat_first_flight(self) -> None:
        """Send our ClientHello again until the SFU answers.

        Janus drops datagrams that arrive before it knows that ICE has completed, and it may know a moment later than we do.
        The copy is exact, so a server that has received the first one discards it by its record number (RFC 6347, section
        4.1.2.6).
        """
        for wait_s in _REPEAT_S:
            await asyncio.sleep(wait_s)
            if self._answered or self._first_flight is None:
                return
            with suppress(ConnectionError, OSError):
                await self._connection.send(self._first_flight)

    async def _recv(self) -> bytes:
        if self.closed and self._datagrams.empty():
            raise ConnectionError("ICE is closed")
        data = await self._datagrams.get()
        if data is None:
            raise ConnectionError("ICE is closed")
        return data

    async def _send(self, data: bytes) -> None:
        if not self._answered:
            self._first_flight = data
        await self._connection.send(data)


class DtlsSession:
    """One DTLS session with the SFU and its SRTP keys. In order: `handshake`, `wait_closed`; always `aclose`."""

    def __init__(self, connection: IceConnection, *, server: bool) -> None:
        """`server`: the SFU sends the ClientHello."""
        self.link = DtlsLink(connection)
        self._certificate = Certificate.current()
        self._transport = aiortc_dtls.RTCDtlsTransport(self.link, [self._certificate])  # type: ignore[arg-type]
        self._transport._set_role("server" if server else "client")
        #: libsrtp's `srtp_t`, owned by the transport; None before the handshake.
        self._srtp: Any = None

    @property
    def fingerprint(self) -> tuple[str, str]:
        """The hash algorithm and fingerprint of our certificate (RFC 8122)."""
        fingerprint = self._certificate.getFingerprints()[0]
        return fingerprint.algorithm, fingerprint.value

    @property
    def established(self) -> bool:
        """Whether the SRTP keys are known."""
        return self._srtp is not None

    async def handshake(self, fingerprints: Iterable[tuple[str, str]]) -> None:
        """Perform the handshake. The SFU's certificate must match one of the fingerprints. Raises NoMediaPath."""
        expected = [aiortc_dtls.RTCDtlsFingerprint(algorithm, value) for algorithm, value in fingerprints]
        async with asyncio.TaskGroup() as tasks:
            repeating = tasks.create_task(self.link.repeat_first_flight(), name="DTLS first flight")
            await self._transport.start(aiortc_dtls.RTCDtlsParameters(fingerprints=expected))
            repeating.cancel()
        if (task := asyncio.current_task()) is not None and task.cancelling():
            # aiortc's `wait_for` loses a cancellation that comes together with data (Python 3.11).
            raise asyncio.CancelledError
        if self._transport.state != "connected":
            raise handshake_failure(self.link.alert, closed=self.link.closed, encrypted=self._transport.encrypted)
        assert self._transport._rx_srtp is not None
        self._srtp = self._transport._rx_srtp._srtp[0]

    def decrypt_rtp(self, datagram: Datagram) -> bool:
        """Decrypt an SRTP packet in place. Returns False if it is not authentic or was received before."""
        return datagram.decrypt(srtp.srtp_unprotect, self._srtp)

    def decrypt_rtcp(self, datagram: Datagram) -> bool:
        """Decrypt an SRTCP packet in place. Returns False if it is not authentic or was received before."""
        return datagram.decrypt(srtp.srtp_unprotect_rtcp, self._srtp)

    def encrypt_rtcp(self, report: bytes) -> bytes:
        """Encrypt an RTCP packet. Raises pylibsrtp.Error."""
        return self._transport._tx_srtp.protect_rtcp(report)

    async def wait_closed(self, timeout_s: float | None = None) -> bool:
        """Wait until the SFU closes the session or the path is lost. Returns False if neither happens within `timeout_s`."""
        pump = self._transport._task
        assert pump is not None
        done, _ = await asyncio.wait([pump], timeout=timeout_s)
        return bool(done)

    async def aclose(self) -> None:
        """Notify the SFU and end the session. No task remains."""
        pump = self._transport._task
        await self._transport.stop()
        self.link.put(None)  # ends the pump even if it has missed its cancellation
        if pump is not None:
            await asyncio.gather(pump, return_exceptions=True)


def handshake_failure(alert: int | None, *, closed: bool, encrypted: bool) -> NoMediaPath:
    """Explain a failed handshake. `alert`: the SFU's; `closed`: the path is lost; `encrypted`: keys were negotiated."""
    if encrypted:
        return NoMediaPath(
            "The SFU's DTLS certificate does not match its offer, or the SFU does not support SRTP.",
            fix="Check whether another host answers in place of the SFU.",
        )
    if closed:
        return NoMediaPath(
            "The path to the SFU broke during the DTLS handshake.", fix="Allow UDP between this host and the SFU."
        )
    if alert in _CERTIFICATE_ALERTS:
        return NoMediaPath(
            "The SFU rejected the DTLS handshake (alert {alert}).",
            fix="Give the SFU a certificate with an ECDSA key, or with an RSA key of at least 2048 bits.",
            alert=str(alert),
        )
    return NoMediaPath("The DTLS handshake with the SFU failed.", fix="The app tries again automatically.")

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""ICE, DTLS and SRTP for one publisher's audio, ORTC style: no RTCPeerConnection, no decoder thread, no unbounded queue.

The only file that touches private names of aiortc, of which it takes the DTLS handshake and the SRTP keys (RFC 5764), with
`dtls_link` below it; the only one for aioice is `ice_connection`. `tests/unit/webrtc/test_private_names.py` fails when they
change. Host candidates go into the answer at once; the others are trickled, and TURN is asked only where no direct path is.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pylibsrtp
from aioice import Candidate
from aioice.stun import TransactionError, TransactionFailed
from aiortc import rtcdtlstransport as dtls
from OpenSSL import SSL
from pylibsrtp._binding import lib as srtp

from live_transcription.errors import NoMediaPath, TransportLost
from live_transcription.runtime.pacing import next_slot
from live_transcription.types import DIGITAL_SILENCE, AudioPacket, IceServer, TurnAnswer
from live_transcription.webrtc.dtls_link import DtlsLink
from live_transcription.webrtc.ice_connection import IceConnection, host_addresses
from live_transcription.webrtc.ice_uri import StunServer, TurnServer, parse_servers
from live_transcription.webrtc.recvmmsg import Datagram
from live_transcription.webrtc.rtcp import ReceptionReporter
from live_transcription.webrtc.rtp import MalformedRtp, SourceLatch, parse_rtp
from live_transcription.webrtc.sdp import LocalTransport, Offer, RemoteTransport
from live_transcription.webrtc.silence_filter import SilenceFilter

logger = logging.getLogger(__name__)

#: Called in the datagram path: packet, SSRC, arrival time. Must not raise.
RtpSink = Callable[[AudioPacket, int, float], None]

#: aiortc's suites, and the same for an SFU whose certificate holds an RSA key.
_CIPHERS = b":".join(
    b"ECDHE-%s-%s" % (key, suite)
    for suite in (b"AES128-GCM-SHA256", b"CHACHA20-POLY1305", b"AES128-SHA", b"AES256-SHA")
    for key in (b"ECDSA", b"RSA")
)
#: Alerts about ciphers and certificates (RFC 5246, section 7.2.2).
_CERTIFICATE_ALERTS = frozenset((40, 42, 43, 44, 45, 46, 48, 71))
_RENEW_BEFORE = datetime.timedelta(days=7)
_MAX_SERVERS = 6
#: Packets that may come between the end of the handshake and our notice of it.
_MAX_EARLY = 32
#: TURN is asked for a relay only if there is no direct path after this long, in seconds.
_RELAY_AFTER_S = 0.3
#: Between two receiver reports, in seconds (RFC 3550, section 6.2).
_REPORT_S = (2.5, 7.5)
#: When the addresses that were not chosen are given up, in seconds: by then the SFU has ended its checks.
_RELEASE_AFTER_S = 3.0


@dataclass(slots=True)
class TransportStatistics:
    """`discarded`: datagrams that were no RTP for us: unauthentic, malformed, another payload type or source."""

    packets: int = 0
    octets: int = 0
    discarded: int = 0


class _Certificate(dtls.RTCCertificate):
    """One per process, with one SSL context: half of the cost of a new peer."""

    _current: ClassVar[_Certificate | None] = None
    _context: SSL.Context | None = None

    @classmethod
    def current(cls) -> Self:
        held = cls._current
        if not isinstance(held, cls) or held.expires - datetime.datetime.now(datetime.UTC) < _RENEW_BEFORE:
            held = cls.generateCertificate()
            cls._current = held
        return held

    def _create_ssl_context(self, srtp_profiles: list[dtls.SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
            self._context.set_cipher_list(_CIPHERS)
            self._context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 17 KB of each peer, which is idle after the handshake
        return self._context


class AudioTransport:
    """One peer of the SFU that receives audio. In order: `open`, `connect`, `keep_alive`; `aclose` always."""

    def __init__(self, offer: Offer, sink: RtpSink, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.statistics = TransportStatistics()
        self._sink = sink
        self._clock = clock
        self._remote = offer.transport
        self._connection = IceConnection(self._srtp, lambda data: self._link.put(data))  # noqa: PLW0108  the link is made with the connection
        self._connection.ice_controlling = offer.transport.lite
        self._link = DtlsLink(self._connection)
        self._certificate = _Certificate.current()
        self._dtls = dtls.RTCDtlsTransport(self._link, [self._certificate])  # type: ignore[arg-type]
        self._dtls._set_role("server" if offer.transport.setup == "active" else "client")
        self._latch = SourceLatch()
        self._reporter = ReceptionReporter()
        self._silence_filter = SilenceFilter(self._connection.chosen_socket)
        self._early: deque[bytes] = deque(maxlen=_MAX_EARLY)
        #: libsrtp's `srtp_t`; the session of the DTLS transport owns it.
        self._srtp_context: Any = None
        self._remote_ended = False
        self._gathering = True
        self._refused_servers = 0
        #: By the server's address.
        self.turn_answers: dict[str, TurnAnswer] = {}
        self._levels_ignored = False
        self.configure(offer)

    def configure(self, offer: Offer) -> None:
        """Take over what may change by renegotiation: payload types, header extensions, SSRCs, candidates."""
        self._payload_types = offer.payload_types
        self._audio_level_id = None if self._levels_ignored else offer.audio_level_id
        self._latch.announced = offer.ssrcs
        self._silence_filter.configure(self._audio_level_id)
        for candidate in offer.candidates:
            self.add_remote_candidate(candidate)
        if offer.candidates_complete:
            self.add_remote_candidate(None)

    def ignore_audio_levels(self) -> None:
        """The publisher's levels are wrong: strip them from packets, and filter no packet in the kernel."""
        self._levels_ignored = True
        self._audio_level_id = None
        self._silence_filter.configure(None)

    def is_for(self, remote: RemoteTransport) -> bool:
        """Whether an offer goes on with this transport; else ICE restarts, and another transport is needed."""
        return remote == self._remote

    async def open(self) -> None:
        """Open a socket at each local address. Raises TransportLost if there is none."""
        for address in host_addresses():
            await self._connection.bind(address)
        if not self._connection.local_candidates:
            raise TransportLost(
                "No UDP socket could be opened.", fix="Check the network of the host and its limit of open files."
            )

    def local(self, servers: Sequence[IceServer]) -> LocalTransport:
        """The app's transport, for the answer."""
        fingerprint = self._certificate.getFingerprints()[0]
        return LocalTransport(
            username_fragment=self._connection.local_username,
            password=self._connection.local_password,
            fingerprint=(fingerprint.algorithm, fingerprint.value),
            candidates=tuple(self._connection.local_candidates),
            complete=not parse_servers(servers)[0],
        )

    def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """None ends them, but not before our own are gathered: a relay may be the only way."""
        if candidate is not None:
            self._connection.add_remote(candidate)
            return
        self._remote_ended = True
        if not self._gathering:
            self._connection.end_remote()

    async def connect(self, servers: Iterable[IceServer], on_candidate: Callable[[Candidate], None]) -> None:
        """ICE and DTLS, while further candidates are gathered. Takes as long as the caller lets it. Raises TransportLost."""
        self._connection.remote_is_lite = self._remote.lite
        self._connection.remote_username = self._remote.username_fragment
        self._connection.remote_password = self._remote.password
        failure: ConnectionError | None = None
        async with asyncio.TaskGroup() as tasks:
            gathering = tasks.create_task(self._gather(servers, on_candidate), name="ice gathering")
            try:
                await self._connection.connect()
            except ConnectionError as error:
                failure = error
            gathering.cancel()
        if failure is not None:
            raise self.no_path() from failure
        fingerprints = [dtls.RTCDtlsFingerprint(algorithm, value) for algorithm, value in self._remote.fingerprints]
        async with asyncio.TaskGroup() as tasks:
            repeating = tasks.create_task(self._link.repeat_first_flight(), name="DTLS first flight")
            await self._dtls.start(dtls.RTCDtlsParameters(fingerprints=fingerprints))
            repeating.cancel()
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError  # the handshake's `wait_for` forgets a cancellation that comes with data (Python 3.11)
        if self._dtls.state != "connected":
            raise self._handshake_failure()
        assert self._dtls._rx_srtp is not None
        self._srtp_context = self._dtls._rx_srtp._srtp[0]
        early = Datagram()
        while self._early:
            early.load(self._early.popleft())
            self._srtp(early)

    def read_now(self) -> None:
        """Pass received packets to the sink before their turn (`datagrams.Turns`), so that they do not count as missing."""
        self._connection.read_now()

    async def keep_alive(self) -> None:
        """Send receiver reports until the SFU closes or its consent expires. Raises TransportLost."""
        pump = self._dtls._task
        assert pump is not None
        self._schedule_report()
        try:
            _, running = await asyncio.wait([pump], timeout=_RELEASE_AFTER_S)
            if running:
                await self._connection.release_unused()
                await asyncio.wait([pump])
        finally:
            self._next_report.cancel()
        raise TransportLost("The SFU closed the transport, or the path to it broke.")

    def _schedule_report(self) -> None:
        loop = asyncio.get_running_loop()
        self._next_report = loop.call_at(next_slot(loop.time(), _REPORT_S), self._report)

    def _report(self) -> None:
        try:
            self._connection.send_now(self._dtls._tx_srtp.protect_rtcp(self._reporter.report(self._clock())))
        except (ConnectionError, OSError, pylibsrtp.Error):
            self._link.put(None)  # ends the pump
            return
        self._schedule_report()

    async def aclose(self) -> None:
        """Tell the SFU and close everything; no task and no socket is left. At most about one second, whatever TURN does."""
        pump = self._dtls._task
        await self._dtls.stop()
        self._link.put(None)  # ends the pump also where it has missed its cancellation
        if pump is not None:
            await asyncio.gather(pump, return_exceptions=True)
        await self._connection.close()

    def _handshake_failure(self) -> NoMediaPath:
        if self._dtls.encrypted:
            return NoMediaPath(
                "The SFU's DTLS certificate does not match its offer, or the SFU offers no SRTP.",
                fix="Check whether another host answers in place of the SFU.",
            )
        if self._link.closed:
            return NoMediaPath(
                "The path to the SFU broke during the DTLS handshake.", fix="Allow UDP between this host and the SFU."
            )
        if self._link.alert in _CERTIFICATE_ALERTS:
            return NoMediaPath(
                f"The SFU ended the DTLS handshake (alert {self._link.alert}).",
                fix="Give the SFU a certificate with an ECDSA key, or RSA of 2048 bits or more.",
            )
        return NoMediaPath("The DTLS handshake with the SFU failed.", fix="The app tries again by itself.")

    def no_path(self) -> NoMediaPath:
        """The error for ICE that found no path, or not in time."""
        asked = f"; {self._refused_servers} STUN or TURN servers did not serve" if self._refused_servers else ""
        return NoMediaPath(
            f"No network path to the SFU was found ({len(self._connection.remote_candidates)} of its addresses tried{asked}).",
            fix="Let UDP through between this host and the SFU, or set up a TURN server in Talk's settings.",
        )

    async def _gather(self, servers: Iterable[IceServer], on_candidate: Callable[[Candidate], None]) -> None:
        usable, refused = parse_servers(servers)
        self._refused_servers += refused
        try:
            async with asyncio.TaskGroup() as tasks:
                for server in usable[:_MAX_SERVERS]:
                    tasks.create_task(self._ask(server, on_candidate))
        finally:
            self._gathering = False
        if self._remote_ended:
            self._connection.end_remote()

    async def _ask(self, server: StunServer | TurnServer, on_candidate: Callable[[Candidate], None]) -> None:
        try:
            if isinstance(server, StunServer):
                found = await self._connection.reflexive(server)
            else:
                await asyncio.sleep(_RELAY_AFTER_S)
                found = await self._connection.relayed(server)
                self._note_turn_answer(server, 0)
        except (OSError, TransactionError, ValueError) as error:
            self._refused_servers += 1
            if isinstance(server, TurnServer) and isinstance(error, TransactionFailed):
                self._note_turn_answer(server, error.response.attributes.get("ERROR-CODE", (500, ""))[0])
            logger.info("The STUN or TURN server %s port %d does not serve: %s", server.host, server.port, error)
            return
        for candidate in found:
            on_candidate(candidate)

    def _note_turn_answer(self, server: TurnServer, code: int) -> None:
        self.turn_answers[f"{server.host}:{server.port}"] = TurnAnswer(code, asyncio.get_running_loop().time())

    def _srtp(self, datagram: Datagram) -> None:
        context = self._srtp_context
        if context is None:
            self._early.append(datagram.copy())
            return
        now = self._clock()
        statistics = self.statistics
        octets, length = datagram.octets, datagram.length
        size: int = length[0]
        if 192 <= octets[1] <= 223:  # RFC 5761, section 4
            if srtp.srtp_unprotect_rtcp(context, octets, length) == 0:
                self._reporter.sender_report(datagram.copy(), now)
            else:
                statistics.discarded += 1
            return
        try:
            parsed = (
                parse_rtp(datagram.copy(), self._payload_types, self._audio_level_id)
                if srtp.srtp_unprotect(context, octets, length) == 0
                else None
            )
        except MalformedRtp:
            parsed = None
        if parsed is None or not self._latch.accepts(parsed[0], now):
            statistics.discarded += 1
            return
        ssrc, packet = parsed
        statistics.packets += 1
        statistics.octets += size
        if packet.audio_level == DIGITAL_SILENCE or self._silence_filter.watching:
            packet.skipped = self._silence_filter.observe(ssrc, packet, datagram.copy(), size, now)
        self._reporter.received(ssrc, packet.sequence_number, packet.timestamp, now, packet.skipped)
        self._sink(packet, ssrc, now)

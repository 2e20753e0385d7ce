# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""ICE, DTLS and SRTP for one publisher's audio, in the style of ORTC: no RTCPeerConnection, no decoder thread, bounded queues.

Host candidates are part of the answer. Other candidates are trickled, and TURN servers are asked only if there is no direct
path.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import pylibsrtp
from aioice import Candidate
from aioice.stun import TransactionError, TransactionFailed

from live_transcription.errors import NoMediaPath, TransportLost
from live_transcription.runtime.timer import DeadlineTimer, next_slot
from live_transcription.texts import Text, join
from live_transcription.types import DIGITAL_SILENCE, AudioPacket, IceServer, TurnAnswer
from live_transcription.webrtc.dtls import DtlsSession
from live_transcription.webrtc.ice_connection import IceConnection, host_addresses
from live_transcription.webrtc.ice_servers import StunServer, TurnServer, parse_servers
from live_transcription.webrtc.recvmmsg import Datagram
from live_transcription.webrtc.rtcp import ReceptionReporter
from live_transcription.webrtc.rtp import MalformedRtp, SourceLatch, parse_rtp
from live_transcription.webrtc.sdp import LocalTransport, Offer, RemoteTransport
from live_transcription.webrtc.silence_filter import SilenceFilter

logger = logging.getLogger(__name__)

#: Called for each packet, in the datagram path: packet, SSRC, number of packets of digital silence that the socket's filter has
#: dropped right before it, and arrival time in the event loop's time. Must not raise.
RtpSink = Callable[[AudioPacket, int, int, float], None]

_MAX_SERVERS = 6
#: Packets that may arrive between the end of the handshake and our notice of it.
_MAX_EARLY = 32
#: Seconds that a direct path has before TURN servers are asked for a relay.
RELAY_AFTER_S = 0.3
#: Seconds between two receiver reports, at least and at most (RFC 3550, section 6.2).
REPORT_S = (2.5, 7.5)
#: Seconds after which the sockets of unused candidates are closed. By then the SFU has completed its checks.
RELEASE_AFTER_S = 3.0


class AudioTransport:
    """One peer of the SFU that receives audio. In order: `open`, `connect`, `keep_alive`; always `aclose`."""

    def __init__(self, offer: Offer, sink: RtpSink) -> None:
        #: Datagrams that were not this publisher's RTP: not authentic, malformed, or of another payload type or source.
        self.discarded = 0
        #: The last answer of each TURN server, by the server's address.
        self.turn_answers: dict[str, TurnAnswer] = {}
        self._sink = sink
        self._now = asyncio.get_running_loop().time
        self._remote = offer.transport
        #: The ICE agent.
        self.connection = IceConnection(self._receive, lambda data: self.dtls.link.put(data))  # noqa: PLW0108  made below
        self.connection.ice_controlling = offer.transport.lite
        #: DTLS and the SRTP keys.
        self.dtls = DtlsSession(self.connection, server=offer.transport.setup == "active")
        self._latch = SourceLatch()
        self._reporter = ReceptionReporter()
        self._report_timer = DeadlineTimer(self._send_report)
        self._silence_filter = SilenceFilter(self.connection.chosen_socket)
        self._early: deque[bytes] = deque(maxlen=_MAX_EARLY)
        self._remote_ended = False
        self._gathering = True
        self._failed_servers = 0
        self._levels_ignored = False
        self.configure(offer)

    def configure(self, offer: Offer) -> None:
        """Apply what a renegotiation may change: payload types, header extensions, SSRCs and candidates."""
        self._payload_types = offer.payload_types
        self._audio_level_id = None if self._levels_ignored else offer.audio_level_id
        self._latch.announced = offer.ssrcs
        self._silence_filter.configure(self._audio_level_id)
        for candidate in offer.candidates:
            self.add_remote_candidate(candidate)
        if offer.candidates_complete:
            self.add_remote_candidate(None)

    def ignore_audio_levels(self) -> None:
        """Strip audio levels from packets and filter no packet in the kernel, since the publisher's levels are wrong."""
        self._levels_ignored = True
        self._audio_level_id = None
        self._silence_filter.configure(None)

    def is_for(self, remote: RemoteTransport) -> bool:
        """Return whether an offer continues this transport. If not, ICE restarts and a new transport is needed."""
        return remote == self._remote

    async def open(self) -> None:
        """Open a socket at each local address. Raises TransportLost if none can be opened."""
        for address in host_addresses():
            await self.connection.bind(address)
        if not self.connection.local_candidates:
            raise TransportLost("No UDP socket could be opened.", fix="Check the host's network and its limit of open files.")

    def local(self, servers: Sequence[IceServer]) -> LocalTransport:
        """Describe this transport for the answer."""
        return LocalTransport(
            username_fragment=self.connection.local_username,
            password=self.connection.local_password,
            fingerprint=self.dtls.fingerprint,
            candidates=tuple(self.connection.local_candidates),
            complete=not parse_servers(servers)[0],
        )

    def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """Add a candidate of the SFU; None means that there are no more."""
        if candidate is not None:
            self.connection.add_remote(candidate)
            return
        # ICE fails when all checks of a complete list have failed. So the list stays open until our own candidates are
        # gathered: a relay may be the only path.
        self._remote_ended = True
        if not self._gathering:
            self.connection.end_remote()

    async def connect(self, servers: Iterable[IceServer], on_candidate: Callable[[Candidate], None]) -> None:
        """Establish ICE and DTLS, and gather further candidates meanwhile. There is no time limit. Raises TransportLost.

        `on_candidate` is called for each candidate to be trickled.
        """
        self.connection.remote_is_lite = self._remote.lite
        self.connection.remote_username = self._remote.username_fragment
        self.connection.remote_password = self._remote.password
        failure: ConnectionError | None = None
        async with asyncio.TaskGroup() as tasks:
            gathering = tasks.create_task(self._gather(servers, on_candidate), name="ICE gathering")
            try:
                await self.connection.connect()
            except ConnectionError as error:
                failure = error
            gathering.cancel()
        if failure is not None:
            raise self.no_path() from failure
        await self.dtls.handshake(self._remote.fingerprints)
        early = Datagram()
        while self._early:
            early.load(self._early.popleft())
            self._receive(early)

    def read_now(self) -> None:
        """Pass packets that wait in the socket to the sink now, so that they do not count as missing."""
        self.connection.read_now()

    async def keep_alive(self) -> None:
        """Send receiver reports until the SFU closes the transport or its consent expires. Then raises TransportLost."""
        self._schedule_report()
        try:
            if not await self.dtls.wait_closed(RELEASE_AFTER_S):
                await self.connection.release_unused()
                await self.dtls.wait_closed()
        finally:
            self._report_timer.cancel()
        raise TransportLost("The SFU closed the transport, or the path to it broke.")

    def _schedule_report(self) -> None:
        self._report_timer.set(next_slot(self._now(), REPORT_S))

    def _send_report(self) -> None:
        try:
            self.connection.send_now(self.dtls.encrypt_rtcp(self._reporter.report(self._now())))
        except (ConnectionError, OSError, pylibsrtp.Error):
            self.dtls.link.put(None)  # ends `keep_alive`
            return
        self._schedule_report()

    async def aclose(self) -> None:
        """Notify the SFU and close everything. No task and no socket remains. Takes about one second at most."""
        await self.dtls.aclose()
        await self.connection.close()

    def no_path(self) -> NoMediaPath:
        """Return the error for ICE that found no path, or not in time."""
        tried = Text(
            "No network path to the SFU was found ({count} of its addresses tried).",
            count=len(self.connection.remote_candidates),
        )
        failed = Text("{count} STUN or TURN servers failed.", count=self._failed_servers) if self._failed_servers else ""
        return NoMediaPath(
            join(tried, failed),
            fix="Allow UDP between this host and the SFU, or set up a TURN server in Talk's settings.",
        )

    async def _gather(self, servers: Iterable[IceServer], on_candidate: Callable[[Candidate], None]) -> None:
        usable, refused = parse_servers(servers)
        self._failed_servers += refused
        try:
            async with asyncio.TaskGroup() as tasks:
                for server in usable[:_MAX_SERVERS]:
                    tasks.create_task(self._ask(server, on_candidate))
        finally:
            self._gathering = False
        if self._remote_ended:
            self.connection.end_remote()

    async def _ask(self, server: StunServer | TurnServer, on_candidate: Callable[[Candidate], None]) -> None:
        try:
            if isinstance(server, StunServer):
                found = await self.connection.reflexive(server)
            else:
                await asyncio.sleep(RELAY_AFTER_S)
                found = await self.connection.relayed(server)
                self._note_turn_answer(server, 0)
        except (OSError, TransactionError, ValueError) as error:
            self._failed_servers += 1
            if isinstance(server, TurnServer) and isinstance(error, TransactionFailed):
                self._note_turn_answer(server, error.response.attributes.get("ERROR-CODE", (500, ""))[0])
            logger.info("The STUN or TURN server %s port %d failed: %s", server.host, server.port, error)
            return
        for candidate in found:
            on_candidate(candidate)

    def _note_turn_answer(self, server: TurnServer, code: int) -> None:
        self.turn_answers[f"{server.host}:{server.port}"] = TurnAnswer(code, self._now())

    def _receive(self, datagram: Datagram) -> None:
        if not self.dtls.established:
            self._early.append(datagram.copy())
            return
        now = self._now()
        size = datagram.size
        if 192 <= datagram.octet(1) <= 223:  # RTCP (RFC 5761, section 4)
            if self.dtls.decrypt_rtcp(datagram):
                self._reporter.sender_report(datagram.copy(), now)
            else:
                self.discarded += 1
            return
        try:
            parsed = (
                parse_rtp(datagram.copy(), self._payload_types, self._audio_level_id)
                if self.dtls.decrypt_rtp(datagram)
                else None
            )
        except MalformedRtp:
            parsed = None
        if parsed is None or not self._latch.accepts(parsed[0], now):
            self.discarded += 1
            return
        ssrc, packet = parsed
        skipped = 0
        if packet.audio_level == DIGITAL_SILENCE or self._silence_filter.watching:
            skipped = self._silence_filter.observe(ssrc, packet, datagram.copy(), size, now)
        self._reporter.received(ssrc, packet.sequence_number, packet.timestamp, now, skipped)
        self._sink(packet, ssrc, skipped, now)

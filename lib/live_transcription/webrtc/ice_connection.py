# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""ICE (RFC 8445) on aioice, with local candidates that can be added at any time.

aioice performs the connectivity checks and is the TURN client. This is the only file that uses its private names. Gathering is
our own, so that an answer never waits for a STUN or TURN server, and so is consent. Datagrams are demultiplexed by their first
octet (RFC 7983): RTP goes to its callback without a task, queue or STUN parser in between.

Anybody can send datagrams to these sockets. STUN must contain our ufrag or answer one of our requests, DTLS must come from the
address of a candidate pair (RFC 8445, section 12), and the receiver authenticates SRTP. The rest is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, cast

import aioice
from aioice import Candidate, ice, stun, turn
from aioice.candidate import candidate_foundation, candidate_priority

from live_transcription.runtime.timer import next_slot
from live_transcription.runtime.tls import client_context
from live_transcription.webrtc import datagrams
from live_transcription.webrtc.candidate import MAX_CANDIDATES
from live_transcription.webrtc.consent import INTERVAL_S, Consent
from live_transcription.webrtc.ice_servers import StunServer, TurnServer
from live_transcription.webrtc.recvmmsg import MAX_DATAGRAMS, Datagram
from live_transcription.webrtc.silence_filter import FilteredSocket

logger = logging.getLogger(__name__)

# The message types of STUN's binding method (RFC 8489, section 5). libnice sends indications to keep a path alive (RFC 8445,
# section 11); they need no answer.
_REQUEST, _INDICATION, _SUCCESS, _ERROR = b"\x00\x01", b"\x00\x11", b"\x01\x01", b"\x01\x11"
#: Maximum number of consecutive reads of a socket in `read_now`: 16 datagrams.
_READS = 4
#: Seconds in which a TURN server has to confirm the release of a relay.
_CLOSE_S = 1.0

#: Buffer for media that was not read by `recvmmsg`.
_relayed = Datagram()


def host_addresses() -> list[str]:
    """Return this host's addresses, or loopback if it has no other."""
    return ice.get_host_addresses(use_ipv4=True, use_ipv6=True) or ["127.0.0.1", "::1"]


class IceSocket(ice.StunProtocol, datagrams.MediaProtocol):
    """One local candidate: a UDP socket or a relay. Passes each datagram to where it belongs."""

    receiver: IceConnection

    def __init__(self, receiver: IceConnection) -> None:
        super().__init__(receiver)
        self.media_received = receiver.on_srtp

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        assert isinstance(data, bytes)
        try:
            self._receive(data, (addr[0], addr[1]))
        except Exception as error:  # noqa: BLE001  asyncio would log each traceback, and close a TCP connection to a TURN server
            datagrams.report_failure(error)

    def _receive(self, data: bytes, source: tuple[str, int]) -> None:
        first = data[0] if data else 255
        if 127 < first < 192:
            _relayed.load(data)
            self.media_received(_relayed)
        elif 19 < first < 64:
            if self.receiver.has_pair(self, source):
                self.receiver.on_dtls(data)
            else:
                datagrams.report_rejected("DTLS of a stranger")
        elif first < 4 and not self.receiver.is_consent(data):
            self._receive_stun(data, source)

    def _receive_stun(self, data: bytes, source: tuple[str, int]) -> None:
        kind = data[:2]
        if kind == _REQUEST:
            expected = self.receiver.username_prefix in data
        else:
            expected = kind in (_SUCCESS, _ERROR) and data[8:20] in self.transactions
        if kind == _INDICATION:
            return
        if not expected:
            datagrams.report_rejected("STUN of a stranger")
            return
        try:
            super().datagram_received(data, source)
        except Exception:  # noqa: BLE001  aioice's parser also raises errors of `struct`
            datagrams.report_rejected("malformed STUN")


class IceConnection(aioice.Connection):
    """An ICE agent with one component.

    `on_srtp` is called with each RTP and RTCP datagram, `on_dtls` with each DTLS datagram, and with None when the path is lost.
    """

    def __init__(self, on_srtp: Callable[[Datagram], None], on_dtls: Callable[[bytes | None], None]) -> None:
        super().__init__(ice_controlling=False)
        self.on_srtp = on_srtp
        self.on_dtls = on_dtls
        self._local_candidates_start = self._local_candidates_end = True
        self._consent: Consent | None = None
        #: The prefix of the USERNAME in each check of the SFU (RFC 8445, section 7.2.2).
        self.username_prefix = f"{self.local_username}:".encode()

    def has_pair(self, protocol: ice.StunProtocol, remote: tuple[str, int]) -> bool:
        """Return whether this socket and remote address are a candidate pair, signalled or learned from an authentic check."""
        nominated = self._nominated.get(1)
        if nominated is not None and nominated.protocol is protocol and nominated.remote_addr == remote:
            return True
        return any(pair.protocol is protocol and pair.remote_addr == remote for pair in self._check_list)

    async def bind(self, address: str) -> None:
        """Add a host candidate. An address that cannot be bound is left out."""
        protocol = IceSocket(self)
        try:
            await datagrams.open_socket(address, protocol)
        except OSError as error:
            logger.debug("Could not open a socket at a local address: %s", error)
            return
        host, port = protocol.transport.get_extra_info("sockname")[:2]
        foundation = candidate_foundation("host", "udp", host)
        self._add_local(Candidate(foundation, 1, "udp", candidate_priority(1, "host"), host, port, "host"), protocol)

    async def reflexive(self, server: StunServer) -> list[Candidate]:
        """Return our addresses as the STUN server sees them, one for each socket of the server's IP version. Raises OSError."""
        targets = {ip_address(address).version: (address, server.port) for address in await _resolve(server.host)}
        hosts = [protocol for protocol in self._protocols if protocol.local_candidate.type == "host"]
        asked = [(protocol, targets.get(ip_address(protocol.local_candidate.host).version)) for protocol in hosts]
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(self._reflexive(protocol, target)) for protocol, target in asked if target is not None]
        return [candidate for answer in answers if (candidate := answer.result()) is not None]

    async def _reflexive(self, protocol: ice.StunProtocol, server: tuple[str, int]) -> Candidate | None:
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        try:
            response, _ = await protocol.request(request, server, retransmissions=3)
        except stun.TransactionError:
            return None
        mapped = response.attributes.get("XOR-MAPPED-ADDRESS")
        base = protocol.local_candidate
        if mapped is None or (mapped[0], mapped[1]) == (base.host, base.port):
            return None
        foundation = candidate_foundation("srflx", "udp", base.host)
        priority = candidate_priority(1, "srflx")
        return Candidate(foundation, 1, "udp", priority, mapped[0], mapped[1], "srflx", base.host, base.port)

    async def relayed(self, server: TurnServer) -> list[Candidate]:
        """Allocate an address at the TURN server. Raises OSError and TransactionError."""
        candidate, protocol = await ice.relayed_candidate(
            component=1,
            hide_related_address=False,
            protocol_factory=lambda: IceSocket(self),
            turn_server=(server.host, server.port),
            turn_username=server.username,
            turn_password=None if server.credential is None else server.credential.reveal(),
            turn_ssl=await client_context(verify=True) if server.tls else False,  # type: ignore[arg-type]
            turn_transport=server.transport,
        )
        datagrams.limit_read_size(cast("Any", protocol.transport)._TurnTransport__inner_protocol.transport)
        self._add_local(candidate, protocol)
        return [candidate]

    def _add_local(self, candidate: Candidate, protocol: ice.StunProtocol) -> None:
        protocol.local_candidate = candidate
        self._local_candidates.append(candidate)
        self._protocols.append(protocol)
        for remote in self._remote_candidates:
            self._pair_remote_candidate(remote)
        self.sort_check_list()

    def add_remote(self, candidate: Candidate) -> None:
        """Add a candidate of the SFU, up to `MAX_CANDIDATES`."""
        if not (self._closing or self._remote_candidates_end or len(self._remote_candidates) >= MAX_CANDIDATES):
            self._add_remote_candidate(candidate, candidate.host)

    def end_remote(self) -> None:
        """The SFU has no more candidates."""
        if not (self._closing or self._remote_candidates_end):
            self._remote_candidates_end = True
            self._end_remote_candidates()

    async def release_unused(self) -> None:
        """Close the sockets and relays that are not part of the chosen path."""
        used = {pair.protocol for pair in self._nominated.values()}
        unused = [protocol for protocol in self._protocols if protocol not in used]
        self._protocols[:] = [protocol for protocol in self._protocols if protocol in used]
        self._check_list[:] = [pair for pair in self._check_list if pair.protocol in used]
        await _close_all(unused)

    def send_now(self, data: bytes) -> None:
        """Send on the chosen path. Raises ConnectionError if there is none."""
        pair = self._nominated.get(1)
        if pair is None:
            raise ConnectionError("ICE is not connected")
        pair.protocol.transport.sendto(data, pair.remote_addr)

    def read_now(self) -> None:
        """Read the socket of the chosen path now, without waiting for its scheduled read."""
        pair = self._nominated.get(1)
        if pair is not None and isinstance(pair.protocol.transport, datagrams.MediaSocket):
            for _ in range(_READS):
                if pair.protocol.transport.read() < MAX_DATAGRAMS:
                    break

    def chosen_socket(self) -> FilteredSocket | None:
        """Return the UDP socket of the chosen path, or None if it leads over a relay, which wraps datagrams."""
        pair = self._nominated.get(1)
        if pair is None or isinstance(pair.protocol.transport, turn.TurnTransport):
            return None
        return cast("FilteredSocket | None", pair.protocol.transport.get_extra_info("socket"))

    async def query_consent(self) -> None:
        """Check consent until it expires, then close.

        Replaces aioice's method, which `connect` starts and `close` cancels, at a fifth of its cost.
        """
        assert self.remote_password is not None
        loop = asyncio.get_running_loop()
        request = bytes(self.build_request(self._nominated[1], nominate=False))
        self._consent = Consent(request, self.remote_password, loop.time())
        while not self._consent.expired(loop.time()):
            await asyncio.sleep(min(next_slot(loop.time(), INTERVAL_S), self._consent.expires_at) - loop.time())
            with suppress(ConnectionError, OSError):
                self.send_now(self._consent.request())
        logger.info("The SFU's consent to receive (RFC 7675) has expired")
        self._query_consent_task = None
        await self.close()

    def is_consent(self, data: bytes) -> bool:
        """Return whether a STUN message is the SFU's answer to a consent request, and count it if so."""
        consent = self._consent
        return consent is not None and data[:2] == _SUCCESS and consent.given(data, asyncio.get_running_loop().time())

    def data_received(self, data: bytes, component: int) -> None:  # noqa: ARG002
        """Drop STUN that aioice cannot parse and would queue forever."""
        datagrams.report_rejected("malformed STUN")

    def protocol_lost(self, protocol: ice.StunProtocol) -> None:
        """Handle the loss of a socket, such as a TCP connection to a TURN server."""
        if any(pair.protocol is protocol for pair in self._nominated.values()):
            self.on_dtls(None)

    async def close(self) -> None:
        """Close all sockets and release all relays. Takes about one second at most."""
        self.on_dtls(None)
        protocols, self._protocols = self._protocols, []
        try:
            await super().close()
        finally:
            await _close_all(protocols)


async def _resolve(host: str) -> list[str]:
    try:
        return [str(ip_address(host))]
    except ValueError:
        infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        return [str(address[0]) for *_, address in infos]


async def _close_all(protocols: Iterable[ice.StunProtocol]) -> None:
    """Close sockets and release relays. A relay is abandoned if its server does not confirm in time, or on cancellation."""
    protocols = list(protocols)
    try:
        async with asyncio.timeout(_CLOSE_S):
            for protocol in protocols:
                await protocol.close()
    except TimeoutError:
        logger.info("A TURN server did not confirm the release of a relay, which now expires by itself")
    finally:
        for protocol in protocols:
            await _abandon(protocol)


async def _abandon(protocol: ice.StunProtocol) -> None:
    if isinstance(protocol.transport, turn.TurnTransport):
        relay = cast("Any", protocol.transport)
        closing: asyncio.Task[None] | None = relay._TurnTransport__close_task
        sending: set[asyncio.Task[None]] = relay._TurnTransport__send_tasks
        tasks = [*sending, *([] if closing is None else [closing])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        relay._TurnTransport__inner_protocol.transport.close()
    await protocol.close()

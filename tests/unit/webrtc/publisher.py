# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The other side of a subscriber in tests: a publisher of aiortc behind a signaling channel that answers at once."""

from __future__ import annotations

import asyncio
import datetime
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import aiortc
from aiortc import RTCCertificate, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from live_transcription.types import AudioGap, AudioPacket, IceServer
from live_transcription.webrtc.peer import Peer
from live_transcription.webrtc.subscriber import IceServers, Subscriber


class RsaCertificate(RTCCertificate):
    """A certificate with an RSA key, as some Janus installations have."""

    @classmethod
    def generate(cls) -> RsaCertificate:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sfu.example.com")])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        return cls(key, builder.sign(key, hashes.SHA256()))  # type: ignore[arg-type]

    def _create_ssl_context(self, srtp_profiles: list[aiortc.rtcdtlstransport.SRTPProtectionProfile]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256")
        return context


def always(*servers: IceServer) -> IceServers:
    async def ice_servers() -> Sequence[IceServer]:
        return servers

    return ice_servers


class Publisher:
    """One publisher, a subscriber for it, and the channel in between."""

    def __init__(
        self, *, certificate: RTCCertificate | None = None, ice_servers: tuple[IceServer, ...] = (), **options: Any
    ) -> None:
        self.items: list[AudioPacket | AudioGap] = []
        self.answers: list[str] = []
        self.candidates: list[str] = []
        self.requests = 0
        self.filter: Callable[[str], str] = str
        #: Our side: the peers of the subscriber, the newest last.
        self.peers: list[Peer] = []
        self.subscriber = Subscriber(self, always(*ice_servers), self._collect, make_peer=self._make_peer, **options)
        self.peer = self.new_peer(certificate)
        self.answered = asyncio.Event()
        self._received = asyncio.Event()

    def _make_peer(self, *arguments: Any, **options: Any) -> Peer:
        self.peers.append(Peer(*arguments, **options))
        return self.peers[-1]

    @staticmethod
    def new_peer(certificate: RTCCertificate | None = None) -> RTCPeerConnection:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if certificate is not None:
            peer._RTCPeerConnection__certificates = [certificate]  # type: ignore[attr-defined]
        peer.addTrack(AudioStreamTrack())
        return peer

    def request_offer(self) -> None:
        self.requests += 1

    def send_answer(self, sid: str, sdp: str) -> None:
        self.answers.append(self.filter(sdp))
        self.answered.set()

    def send_candidate(self, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:
        self.candidates.append(candidate)

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return self.peer.localDescription.sdp

    async def negotiate(self, sid: str = "1", sdp: str | None = None) -> None:
        """Send an offer, wait for the answer and apply it."""
        self.answered.clear()
        self.subscriber.offer(sid, await self.offer() if sdp is None else sdp)
        async with asyncio.timeout(5):
            await self.answered.wait()
        await self.peer.setRemoteDescription(RTCSessionDescription(self.answers[-1], "answer"))

    async def receive(self, packets: int) -> None:
        """Wait until `packets` more packets have arrived."""
        wanted = len(self.items) + packets
        async with asyncio.timeout(10):
            while len(self.items) < wanted:
                self._received.clear()
                await self._received.wait()

    def _collect(self, item: AudioPacket | AudioGap) -> None:
        self.items.append(item)
        self._received.set()


def media_lines(sdp: str) -> Iterator[tuple[str, int]]:
    """Yield the kind and port of each m= section."""
    for line in sdp.splitlines():
        if line.startswith("m="):
            kind, port, *_ = line[2:].split(" ")
            yield kind, int(port)


def addresses(answer: str) -> Iterator[tuple[str, int]]:
    """Yield the addresses of the subscriber's sockets."""
    for line in answer.splitlines():
        if line.startswith("a=candidate:"):
            parts = line.split()
            yield parts[4], int(parts[5])


@contextmanager
def stranger(targets: Iterable[tuple[str, int]]) -> Iterator[list[tuple[socket.socket, tuple[str, int]]]]:
    """Yield sockets that are not the SFU's, each with a target address."""
    sockets = []
    for host, port in targets:
        sending = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        sending.bind((host, 0))
        sending.setblocking(False)
        sockets.append((sending, (host, port)))
    try:
        yield sockets
    finally:
        for sending, _ in sockets:
            sending.close()


def open_sockets(answer: str) -> int:
    """Count the subscriber's open sockets. The system refuses datagrams to closed ones."""
    count = 0
    for host, port in addresses(answer):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
            try:
                probe.send(b"\xff")
                probe.send(b"\xff")
                count += 1
            except ConnectionRefusedError:
                pass
    return count

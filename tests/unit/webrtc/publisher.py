# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The other side of a subscriber in tests: a publisher of aiortc behind a signaling channel that answers at once."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import aiortc
from aiortc import RTCCertificate, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from live_transcription.types import AudioGap, AudioPacket, IceServer
from live_transcription.webrtc.subscriber import IceServers, Subscriber


class RsaCertificate(RTCCertificate):
    """A peer that can do RSA only, as some Janus installations."""

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
        self.subscriber = Subscriber(self, always(*ice_servers), self._hear, **options)
        self.peer = self.new_peer(certificate)
        self._arrived = asyncio.Event()
        self._heard = asyncio.Event()

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
        self._arrived.set()

    def send_candidate(self, sid: str, candidate: str, sdp_mid: str | None, sdp_m_line_index: int | None) -> None:
        self.candidates.append(candidate)

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return self.peer.localDescription.sdp

    async def negotiate(self, sid: str = "1", sdp: str | None = None) -> None:
        """Offer, wait for the answer, take it."""
        self._arrived.clear()
        self.subscriber.offer(sid, await self.offer() if sdp is None else sdp)
        async with asyncio.timeout(5):
            await self._arrived.wait()
        await self.peer.setRemoteDescription(RTCSessionDescription(self.answers[-1], "answer"))

    async def heard(self, packets: int) -> None:
        """Wait until so many more packets came."""
        wanted = len(self.items) + packets
        async with asyncio.timeout(10):
            while len(self.items) < wanted:
                self._heard.clear()
                await self._heard.wait()

    def _hear(self, item: AudioPacket | AudioGap) -> None:
        self.items.append(item)
        self._heard.set()


def media_lines(sdp: str) -> Iterator[tuple[str, int]]:
    """Kind and port of each m= section."""
    for line in sdp.splitlines():
        if line.startswith("m="):
            kind, port, *_ = line[2:].split(" ")
            yield kind, int(port)

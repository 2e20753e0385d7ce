# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A publisher: parses a peer's RTP once and passes it to every subscriber, or generates the packets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sandbox.sfu import sdp
from sandbox.sfu.certificate import SfuCertificate
from sandbox.sfu.peer import Peer
from sandbox.sfu.rtp import RtpPacket, parse_rtp


class Source:
    """Packets for subscribers, from any source. Each of `listeners` gets each packet."""

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.has_audio = True
        self.has_video = False
        self.packets = 0
        self.listeners: set[Callable[[RtpPacket], None]] = set()

    @property
    def state(self) -> str:
        return "connected"

    async def add_candidate(self, line: str, mid: str | None, index: int | None) -> None:
        """Of a source that is no peer there are none."""

    async def close(self, *, silently: bool = False) -> None:
        """No packets any more."""


class Publisher(Source):
    """A peer, made by `Sfu.publish`. `sid` is what the client named its offer; `has_audio` and `has_video` what it offered."""

    def __init__(self, certificate: SfuCertificate, sid: str) -> None:
        super().__init__(sid)
        self._peer = Peer(certificate, offering=False, on_rtp=self._datagram)
        self._opus: int | None = None
        self._level_id: int | None = None

    @property
    def state(self) -> str:
        return self._peer.state

    async def answer(self, offer: str, tasks: asyncio.TaskGroup) -> str:
        """Take the offer, first or renegotiated; returns the answer's SDP. Raises SdpError."""
        description = sdp.parse(offer)
        carrier = sdp.transport_section(description)
        audio = next((media for media in description.media if media.kind == "audio" and media.port), None)
        self.has_audio = audio is not None
        if audio is not None:
            self._opus = sdp.opus_payload_type(audio)
            self._level_id = sdp.extension_id(audio, sdp.AUDIO_LEVEL_URI)
        self.has_video = any(media.kind == "video" and media.port for media in description.media)
        answer = sdp.answer_publisher(description, await self._peer.gather())
        self._peer.connect(carrier, tasks)
        return answer

    async def add_candidate(self, line: str, mid: str | None, index: int | None) -> None:
        await self._peer.add_candidate(line, mid, index)

    def _datagram(self, datagram: bytes) -> None:
        packet = parse_rtp(datagram, self._level_id)
        if packet is None or packet.payload_type != self._opus:
            return
        self.packets += 1
        for listener in tuple(self.listeners):
            listener(packet)

    async def close(self, *, silently: bool = False) -> None:
        await self._peer.close(silently=silently)

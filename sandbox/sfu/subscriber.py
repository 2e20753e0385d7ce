# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One subscribing peer: our offer, its answer, and one publisher's packets written into its DTLS transport."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from aiortc.sdp import candidate_to_sdp

from sandbox.sfu import sdp
from sandbox.sfu.certificate import SfuCertificate
from sandbox.sfu.impairment import ImpairedPath, Impairment
from sandbox.sfu.peer import Peer
from sandbox.sfu.publisher import Source
from sandbox.sfu.rtp import RtpPacket, build_rtp


class Subscriber:
    """Made by `Sfu.subscribe`. `sid` names this peer connection; a renegotiation keeps it.

    Its streams are those that the publisher had at that time, as with Janus 1.x; `add_audio` adds one, as Janus 0.x does.
    `sent` counts the packets sent, the first at Unix time `first_sent_at`; `path` counts what happened to the others.
    """

    def __init__(self, certificate: SfuCertificate, publisher: Source, sid: str, *, video: bool, trickle: bool) -> None:
        self.sid = sid
        self.sent = 0
        self.first_sent_at: float | None = None
        self.path = ImpairedPath(Impairment())
        self._publisher = publisher
        self._peer = Peer(certificate, offering=True)
        self._transport: sdp.Transport | None = None
        self._ssrc = random.getrandbits(32)
        #: In order of creation; the first carries the transport.
        self._streams = ["audio"] * publisher.has_audio + ["video"] * video
        self._video_ssrc = random.getrandbits(32) if video else None
        self._trickle = trickle
        self._version = 0
        self._offset = random.getrandbits(16)
        self._payload_type: int | None = None
        self._level_id: int | None = None
        self._late: set[asyncio.TimerHandle] = set()

    @property
    def state(self) -> str:
        return self._peer.state

    @property
    def connected_at(self) -> float | None:
        """When ICE and DTLS were up, in seconds of the monotonic clock."""
        return self._peer.connected_at

    @property
    def has_audio(self) -> bool:
        return "audio" in self._streams

    def add_audio(self) -> None:
        """Offer audio from the next offer on."""
        self._streams.append("audio")

    @property
    def hung_up_at(self) -> float | None:
        """When the client closed the transport, by the event loop's clock."""
        return self._peer.hung_up_at

    @property
    def accepted(self) -> bool:
        """True once an answer took the audio."""
        return self._payload_type is not None

    async def offer(self) -> str:
        """The SDP of the first offer, or of a renegotiation on the same transport."""
        if self._transport is None:
            self._transport = await self._peer.gather()
        self._version += 1
        return sdp.offer_subscriber(
            self._transport,
            version=self._version,
            streams=self._streams,
            audio_ssrc=self._ssrc,
            video_ssrc=self._video_ssrc or 0,
            trickle=self._trickle,
        )

    def trickled_candidates(self) -> Sequence[dict[str, object]]:
        """The candidates that `offer` left out, as Janus's trickle messages; empty if the SDP contains them."""
        if not self._trickle or self._transport is None:
            return ()
        lines = [f"candidate:{candidate_to_sdp(candidate)}" for candidate in self._transport.candidates]
        return [{"candidate": line, "sdpMid": "0", "sdpMLineIndex": 0} for line in lines]

    async def answer(self, text: str, tasks: asyncio.TaskGroup) -> None:
        """Take the client's answer; packets flow as soon as ICE and DTLS are up. Raises SdpError."""
        description = sdp.parse(text)
        carrier = sdp.transport_section(description)
        audio = next((media for media in description.media if media.kind == "audio" and media.port), None)
        if audio is not None and audio.direction in ("recvonly", "sendrecv", None):
            self._payload_type = sdp.opus_payload_type(audio)
            self._level_id = sdp.extension_id(audio, sdp.AUDIO_LEVEL_URI)
        else:
            self._payload_type = None
        self._publisher.listeners.add(self._forward)
        self._peer.connect(carrier, tasks)

    async def add_candidate(self, line: str, mid: str | None, index: int | None) -> None:
        await self._peer.add_candidate(line, mid, index)

    def impair(self, impairment: Impairment) -> None:
        """Impair packets from the next one on; `Impairment()` ends it."""
        self.path = ImpairedPath(impairment)

    def _forward(self, packet: RtpPacket) -> None:
        if self._payload_type is None:
            return
        delay = self.path.next_delay()
        if delay is None:
            return
        datagram = build_rtp(
            packet,
            payload_type=self._payload_type,
            sequence_number=(packet.sequence_number + self._offset) & 0xFFFF,
            ssrc=self._ssrc,
            audio_level_id=self._level_id,
        )
        if delay <= 0:
            self._send(datagram)
            return
        loop = asyncio.get_running_loop()
        self._late.add(loop.call_later(delay, self._send_late, datagram))

    def _send_late(self, datagram: bytes) -> None:
        now = asyncio.get_running_loop().time()
        self._late = {handle for handle in self._late if handle.when() > now and not handle.cancelled()}
        self._send(datagram)

    def _send(self, datagram: bytes) -> None:
        if self._peer.send_rtp(datagram):
            self.sent += 1
            if self.first_sent_at is None:
                self.first_sent_at = time.time()

    async def close(self, *, silently: bool = False) -> None:
        """`silently`: the other end gets no word and has to notice by the missing packets."""
        self._publisher.listeners.discard(self._forward)
        for handle in self._late:
            handle.cancel()
        self._late.clear()
        await self._peer.close(silently=silently)

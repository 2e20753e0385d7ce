# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A browser's sending peer connection, as Talk's web client has one per stream that it publishes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from fractions import Fraction
from typing import Any

from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.rtp import is_rtcp
from aiortc.sdp import candidate_from_sdp
from av import VideoFrame

from sandbox.caller.microphone import Microphone

_VIDEO_SIZE = (160, 120)
_VIDEO_RATE = 5


class BlackVideo(VideoStreamTrack):
    """Small black pictures, five per second: video that costs next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(1 / _VIDEO_RATE)
        frame = VideoFrame(*_VIDEO_SIZE, "yuv420p")
        for plane, value in zip(frame.planes, (16, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = self._count * (90_000 // _VIDEO_RATE), Fraction(1, 90_000)
        self._count += 1
        return frame


def ice_servers(settings: dict[str, Any]) -> list[RTCIceServer]:
    """STUN and TURN servers of Talk's signaling settings."""
    servers = [RTCIceServer(urls=server["urls"]) for server in settings["stunservers"]]
    return servers + [
        RTCIceServer(urls=server["urls"], username=server["username"], credential=server["credential"])
        for server in settings["turnservers"]
    ]


class Publisher:
    """Sends the microphone, and video if asked. `loss`: share of RTP packets that never arrive, drawn with `seed`."""

    def __init__(
        self,
        microphone: Microphone | None,
        *,
        video: bool = False,
        servers: list[RTCIceServer] | None = None,
        loss: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.loss = loss
        self.lost = 0
        #: Sequence of packets to lose one after the other, before `loss` counts again: True loses one.
        self.lose_next = 0
        self.connected = asyncio.Event()
        self.broken = asyncio.Event()
        self._random = random.Random(seed)
        self._closing = False
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=servers or []))
        self._peer.on("connectionstatechange", self._on_state)
        self._senders: list[RTCRtpSender] = []
        if microphone is not None:
            self.add_microphone(microphone)
        if video:
            self._senders.append(self._peer.addTrack(BlackVideo()))
        self._send_only()

    @property
    def sdp(self) -> str:
        return self._peer.localDescription.sdp

    def add_microphone(self, microphone: Microphone) -> None:
        """Part of the next offer; a connected peer needs a renegotiation."""
        sender = self._peer.addTrack(microphone)
        # The one seam into aiortc's sender: frames come encoded, with their audio level.
        sender._next_encoded_frame = microphone.encoded_frame  # type: ignore[method-assign, assignment]
        self._senders.append(sender)
        self._send_only()

    async def offer(self) -> str:
        """SDP with all candidates in it."""
        await self._peer.setLocalDescription(await self._peer.createOffer())
        for sender in self._senders:
            self._make_lossy(sender)
        return self.sdp

    async def accept(self, answer: str) -> None:
        await self._peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def add_candidate(self, payload: dict[str, Any]) -> None:
        """A trickled candidate as the HPB sends it: `{candidate, sdpMid, sdpMLineIndex}`."""
        text = payload.get("candidate") or ""
        if not text or "end-of-candidates" in text:
            return
        candidate = candidate_from_sdp(text.removeprefix("candidate:"))
        candidate.sdpMid, candidate.sdpMLineIndex = payload.get("sdpMid"), payload.get("sdpMLineIndex")
        await self._peer.addIceCandidate(candidate)

    async def close(self, *, silently: bool = False) -> None:
        """`silently`: no goodbye on the wire, as when a machine loses its network."""
        self._closing = True
        if silently:
            for sender in self._senders:
                sender.transport.transport._send = _nowhere  # type: ignore[assignment, method-assign, unused-ignore]
        await self._peer.close()

    def _send_only(self) -> None:
        for transceiver in self._peer.getTransceivers():
            transceiver.direction = "sendonly"

    def _on_state(self) -> None:
        if self._peer.connectionState == "connected":
            self.connected.set()
        elif self._peer.connectionState in ("failed", "closed") and not self._closing:
            self.broken.set()

    def _make_lossy(self, sender: RTCRtpSender) -> None:
        transport = sender.transport
        if getattr(transport, "_lossy", False):
            return
        send: Callable[[bytes], Coroutine[Any, Any, None]] = transport._send_rtp

        async def maybe_send(packet: bytes) -> None:
            if not is_rtcp(packet) and self._is_lost():
                self.lost += 1
                return
            await send(packet)

        transport._send_rtp = maybe_send  # type: ignore[assignment, method-assign]
        transport._lossy = True  # type: ignore[attr-defined]

    def _is_lost(self) -> bool:
        if self.lose_next > 0:
            self.lose_next -= 1
            return True
        return self.loss > 0 and self._random.random() < self.loss


async def _nowhere(_packet: bytes) -> None:
    return

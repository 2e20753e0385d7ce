# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A browser's receiving peer connection, for audio that the sandbox checks itself."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame


class Listener:
    """Hears one speaker. `frames` of 20 ms so far; `peak` of the last one, in [0, 1]."""

    def __init__(self) -> None:
        self.frames = 0
        self.peak = 0.0
        self.connected = asyncio.Event()
        self._heard = asyncio.Event()
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.on("connectionstatechange", self._on_state)
        self._peer.on("track", self._on_track)
        self._early: list[dict[str, Any]] = []
        self._task: asyncio.Task[None] | None = None

    async def answer(self, offer: str) -> str:
        await self._peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._peer.setLocalDescription(await self._peer.createAnswer())
        for candidate in self._early:
            await self.add_candidate(candidate)
        return str(self._peer.localDescription.sdp)

    async def add_candidate(self, payload: dict[str, Any]) -> None:
        if self._peer.remoteDescription is None:
            self._early.append(payload)
            return
        text = payload.get("candidate") or ""
        if text and "end-of-candidates" not in text:
            candidate = candidate_from_sdp(text.removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = payload.get("sdpMid"), payload.get("sdpMLineIndex")
            await self._peer.addIceCandidate(candidate)

    async def heard(self, *, above: float = 0.05, timeout_s: float = 10.0) -> None:
        """Until a frame comes that is louder than `above`. Raises TimeoutError."""
        self.peak = 0.0
        async with asyncio.timeout(timeout_s):
            while self.peak < above:
                self._heard.clear()
                await self._heard.wait()

    async def close(self) -> None:
        await self._peer.close()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_state(self) -> None:
        if self._peer.connectionState == "connected":
            self.connected.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and self._task is None:
            self._task = asyncio.create_task(self._hear(track), name="listener")

    async def _hear(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            self.frames += 1
            self.peak = float(np.abs(frame.to_ndarray().astype(np.float32)).max()) / 32768
            self._heard.set()

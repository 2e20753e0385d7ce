# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The common approach of Python programs, in its simplest form: a decoded track, resampled and sent in chunks.

One `RTCPeerConnection` per speaker, `track.recv()` for each 20 ms (decoded by a thread of aiortc), numpy, soxr as a stream,
200 ms over a WebSocket without compression. No voice activity detection and no captions: the words that come back are dropped.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import soxr
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame
from websockets.asyncio.client import ClientConnection, connect

from bench.common.json_lines import tell

_CHUNK = 24_000 // 5


class Stock:
    def __init__(self, stt_url: str) -> None:
        self._url = stt_url
        self._offers: dict[str, asyncio.Future[str]] = {}

    async def run(self, peer: str) -> None:
        self._offers[peer] = asyncio.get_running_loop().create_future()
        tell("offer", peer=peer)
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        await connection.setRemoteDescription(RTCSessionDescription(await self._offers[peer], "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        tell("answer", peer=peer, sdp=connection.localDescription.sdp)
        track = connection.getReceivers()[0].track
        async with connect(self._url, compression=None) as socket, asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(_drop_words(socket))
            try:
                await _forward(track, socket)
            finally:
                reading.cancel()
                await connection.close()

    async def offer(self, peer: str, sid: str, sdp: str) -> None:
        del sid
        self._offers[peer].set_result(sdp)

    def report(self) -> dict[str, Any]:
        return {"tasks": len(asyncio.all_tasks())}


async def _forward(track: MediaStreamTrack, socket: ClientConnection) -> None:
    resampler = soxr.ResampleStream(48_000, 24_000, 1, dtype="float32")
    held, length = [], 0
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        assert isinstance(frame, AudioFrame)
        stereo = frame.to_ndarray().reshape(-1, 2)  # 16-bit, interleaved
        mono = stereo.mean(axis=1, dtype=np.float32) / 32_768
        samples = resampler.resample_chunk(mono)
        held.append(samples)
        length += len(samples)
        if length >= _CHUNK:
            audio = np.concatenate(held)
            await socket.send(audio[:_CHUNK].tobytes())
            held, length = [audio[_CHUNK:]], length - _CHUNK


async def _drop_words(socket: ClientConnection) -> None:
    async for _ in socket:
        pass

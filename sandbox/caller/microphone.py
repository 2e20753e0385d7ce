# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A microphone that plays speech in real time, and can be muted in each way that browsers use."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from enum import StrEnum

from aiortc import MediaStreamTrack
from aiortc.rtcrtpsender import RTCEncodedFrame

from sandbox.caller.frame_encryption import FrameEncryption
from sandbox.caller.speech import CLOCK_RATE, DTX, FRAME_S, FRAME_TICKS, SILENCE, OpusPacket, Speech

#: Packets of near silence after which discontinuous transmission sets in, and the pace of what is still sent then.
_DTX_AFTER, _DTX_EVERY = 10, 20
_DTX_LEVEL = 60
#: Behind by more than this, packets are not sent in a burst any more: their time is skipped.
_LATEST_S = 0.5


class Mute(StrEnum):
    #: `track.enabled = false`: digital silence goes out. What Talk does.
    SILENCE = "silence"
    #: `replaceTrack(null)`: nothing goes out.
    NO_PACKETS = "no_packets"


class Playback:
    """One speech that is being sent. Muting pauses it."""

    def __init__(self, speech: Speech) -> None:
        self.speech = speech
        self._left: list[float] = []
        self._over = asyncio.Event()

    @property
    def position_s(self) -> float:
        return len(self._left) * FRAME_S

    @property
    def over(self) -> bool:
        return self._over.is_set()

    def left_at(self, position_s: float) -> float:
        """Unix time at which this position of the speech was sent. Raises ValueError if it was not yet."""
        index = min(int(position_s / FRAME_S), len(self.speech.packets) - 1)
        if index >= len(self._left):
            raise ValueError(f"{position_s:.2f} s have not been played yet")
        return self._left[index] + position_s - index * FRAME_S

    async def wait(self) -> None:
        """Wait until the last packet is sent or the playback is stopped."""
        await self._over.wait()

    def next(self) -> OpusPacket | None:
        if len(self._left) == len(self.speech.packets):
            self._over.set()
            return None
        packet = self.speech.packets[len(self._left)]
        self._left.append(time.time())
        if len(self._left) == len(self.speech.packets):
            self._over.set()
        return packet

    def stop(self) -> None:
        self._over.set()


class Microphone(MediaStreamTrack):
    """Sends one Opus packet per 20 ms: speech while some is queued, silence else. `dtx`: sends little while it is quiet."""

    kind = "audio"

    def __init__(self, *, dtx: bool = False) -> None:
        super().__init__()
        self.dtx = dtx
        self.muted: Mute | None = None
        #: A fixed audio level for every packet; None: the real level.
        self.false_level: int | None = None
        #: Audio that is repeated while nothing plays; empty: digital silence.
        self.background: tuple[OpusPacket, ...] = ()
        #: Taken for the next packets, as they are: malformed payloads, for instance.
        self.injected: deque[bytes] = deque()
        #: End-to-end encryption of the packets, None for none.
        self.encryption: FrameEncryption | None = None
        self._queue: deque[Playback] = deque()
        self._origin: float | None = None
        self._ticks = 0
        self._quiet = 0
        self.sent = 0

    def play(self, speech: Speech) -> Playback:
        """Queues a speech; it starts with the next packet if nothing else is playing."""
        playback = Playback(speech)
        self._queue.append(playback)
        return playback

    def stop_playing(self) -> None:
        while self._queue:
            self._queue.popleft().stop()

    async def recv(self) -> None:  # type: ignore[override]
        raise NotImplementedError("packets are encoded already: the sender takes them by encoded_frame()")

    async def encoded_frame(self, _codec: object = None) -> RTCEncodedFrame:
        """Replaces the encoder of aiortc's RTP sender."""
        loop = asyncio.get_running_loop()
        if self._origin is None:
            self._origin = loop.time()
        while True:
            due = self._origin + self._ticks / CLOCK_RATE
            late = loop.time() - due
            if late < 0:
                await asyncio.sleep(-late)
            elif late > _LATEST_S:
                self._ticks += int(late / FRAME_S) * FRAME_TICKS
            timestamp = self._ticks
            self._ticks += FRAME_TICKS
            packet = self.next_packet()
            if packet is not None and packet.payload:
                self.sent += 1
                level = packet.level if self.false_level is None else self.false_level
                payload = packet.payload if self.encryption is None else self.encryption.encrypt(packet.payload, timestamp)
                return RTCEncodedFrame([payload], timestamp, -level)

    def next_packet(self) -> OpusPacket | None:
        if self.muted is Mute.NO_PACKETS:
            return None
        if self.injected:
            return OpusPacket(self.injected.popleft(), 30)
        packet = SILENCE if self.muted is Mute.SILENCE else self._speech() or self._background()
        return self._thinned(packet) if self.dtx else packet

    def _background(self) -> OpusPacket:
        return self.background[self.sent % len(self.background)] if self.background else SILENCE

    def _speech(self) -> OpusPacket | None:
        while self._queue:
            packet = self._queue[0].next()
            if self._queue[0].over:
                self._queue.popleft()
            if packet is not None:
                return packet
        return None

    def _thinned(self, packet: OpusPacket) -> OpusPacket | None:
        self._quiet = self._quiet + 1 if packet.level > _DTX_LEVEL else 0
        if self._quiet <= _DTX_AFTER:
            return packet
        return DTX if (self._quiet - _DTX_AFTER) % _DTX_EVERY == 1 else None

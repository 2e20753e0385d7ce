# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One publisher as the SFU sends it to one subscriber: packets that need only a header, written into a DTLS transport."""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.media.programs import Program
from sandbox.caller.speech import FRAME_TICKS
from sandbox.sfu import ImpairedPath, Impairment, sdp
from sandbox.sfu.certificate import SfuCertificate
from sandbox.sfu.peer import Peer

_HEADER = struct.Struct("!BBHLL")
_SIDS = itertools.count(4_000_000_001)
#: Bit of RFC 6464 that says "voice", set where the level is at least this loud (-dBov).
_VOICE, _VOICE_LEVEL = 0x80, 55


def tails(program: Program, level_id: int | None) -> list[bytes | None]:
    """Each packet of a program behind its fixed header: the extension with the audio level where negotiated, the payload."""
    return [None if step is None else _extension(step.level, level_id) + step.payload for step in program]


def _extension(level: int, level_id: int | None) -> bytes:
    if level_id is None:
        return b""
    voice = _VOICE if level <= _VOICE_LEVEL else 0
    return struct.pack("!HHBBH", 0xBEDE, 1, level_id << 4, voice | level, 0)


@dataclass(slots=True)
class Playback:
    """Where a sender is in its program of `length` steps; `ready` gives their `tails` for the id of the level extension.

    `endless`: the program repeats.
    """

    ready: Callable[[int | None], Sequence[bytes | None]]
    length: int
    position: int = 0
    endless: bool = True
    path: ImpairedPath = field(default_factory=lambda: ImpairedPath(Impairment()))
    sent: int = 0

    @property
    def over(self) -> bool:
        return not self.endless and self.position >= self.length


class Sender:
    """`offer`, then `answer`; once `connected`, `step` every 20 ms."""

    def __init__(self, certificate: SfuCertificate) -> None:
        self.sid = str(next(_SIDS))
        self._playback: Playback | None = None
        self._tails: Sequence[bytes | None] | None = None
        self._level_id: int | None = None
        self._peer = Peer(certificate, offering=True)
        self._ssrc = random.getrandbits(32)
        # The upper half would let reordered first packets look like those before a wrap (RFC 3711, section 3.3.1).
        self._sequence_number = random.getrandbits(15)
        self._timestamp = random.getrandbits(32)
        self._payload_type = 0

    @property
    def playback(self) -> Playback | None:
        return self._playback

    @playback.setter
    def playback(self, playback: Playback | None) -> None:
        self._playback, self._tails = playback, None

    @property
    def level_id(self) -> int | None:
        """From the answer; known once connected."""
        return self._level_id

    @property
    def connected(self) -> bool:
        return self._peer.connected

    async def offer(self) -> str:
        transport = await self._peer.gather()
        return sdp.offer_subscriber(
            transport, version=1, streams=("audio",), audio_ssrc=self._ssrc, video_ssrc=0, trickle=False
        )

    def answer(self, text: str, tasks: asyncio.TaskGroup) -> None:
        audio = sdp.transport_section(sdp.parse(text))
        self._payload_type = sdp.opus_payload_type(audio)
        self._level_id = sdp.extension_id(audio, sdp.AUDIO_LEVEL_URI)
        self._peer.connect(audio, tasks)

    async def close(self) -> None:
        await self._peer.close()

    def step(self) -> tuple[bytes, float] | None:
        """The next 20 ms of the playback: a datagram and after how many seconds to send it, None if none goes out."""
        playback = self._playback
        if playback is None or not self._peer.connected or playback.over:
            return None
        if self._tails is None:
            self._tails = playback.ready(self._level_id)
        tail = self._tails[playback.position % playback.length]
        playback.position += 1
        if tail is None:
            self._timestamp = (self._timestamp + FRAME_TICKS) & 0xFFFFFFFF
            return None
        datagram = self.datagram(tail)
        delay_s = playback.path.next_delay()
        return None if delay_s is None else (datagram, delay_s)

    def datagram(self, tail: bytes) -> bytes:
        first = 0x80 if self._level_id is None else 0x90
        header = _HEADER.pack(first, self._payload_type, self._sequence_number, self._timestamp, self._ssrc)
        self._sequence_number = (self._sequence_number + 1) & 0xFFFF
        self._timestamp = (self._timestamp + FRAME_TICKS) & 0xFFFFFFFF
        return header + tail

    def send(self, datagram: bytes) -> bool:
        if not self._peer.send_rtp(datagram):
            return False
        if self._playback is not None:
            self._playback.sent += 1
        return True

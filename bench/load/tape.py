# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The speech of all participants: recordings in a loop. Each participant starts at another position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import av
import numpy as np
import numpy.typing as npt
import soxr

from live_transcription.types import SAMPLE_RATE
from sandbox import recording
from sandbox.caller.speech import from_recording

#: Samples of one packet (20 ms) at 24 kHz.
PACKET_SAMPLES = SAMPLE_RATE // 50
_OPUS_RATE = 48_000
#: RFC 6464: the voice activity bit, and the level in -dBov above which a packet is no voice.
_VOICE = 0x80
_QUIET = 60


@dataclass(frozen=True, slots=True)
class Tape:
    """Opus packets of 20 ms, and for each the byte of RFC 6464."""

    payloads: tuple[bytes, ...]
    levels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.payloads)

    def start(self, speaker: int, speakers: int) -> int:
        """Where this one of so many speakers begins, as far from the others as possible."""
        return speaker * len(self) // max(1, speakers) % len(self)


@lru_cache(maxsize=1)
def load_tape() -> Tape:
    """Some three minutes."""
    packets = [packet for name in recording.LONG for packet in from_recording(recording.load(name)).packets]
    levels = tuple(packet.level | (_VOICE if packet.level < _QUIET else 0) for packet in packets)
    return Tape(tuple(packet.payload for packet in packets), levels)


def decode(tape: Tape) -> npt.NDArray[np.float32]:
    """All of it as mono float32 at 24 kHz, shape (packets * 480,); by PyAV, hence independent of the app's own decoder."""
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate = _OPUS_RATE
    decoder.layout = "mono"
    pieces = []
    for payload in tape.payloads:
        for frame in decoder.decode(av.Packet(payload)):
            samples = frame.to_ndarray()
            scale = 32768.0 if samples.dtype == np.int16 else 1.0
            pieces.append(samples.reshape(-1).astype(np.float32) / scale)
    pcm: npt.NDArray[np.float32] = soxr.resample(np.concatenate(pieces), _OPUS_RATE, SAMPLE_RATE).astype(np.float32)
    return pcm

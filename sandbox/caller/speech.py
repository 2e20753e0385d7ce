# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Encoded speech: Opus packets (RFC 6716) with their audio levels (RFC 6464)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np
import numpy.typing as npt

from sandbox.caller.opus_encoder import OpusEncoder
from sandbox.recording import Recording

#: RTP clock of Opus, whatever was encoded (RFC 7587).
CLOCK_RATE = 48_000
FRAME_TICKS = 960
FRAME_S = FRAME_TICKS / CLOCK_RATE

#: Level of digital silence in -dBov.
SILENT = 127


@dataclass(frozen=True, slots=True)
class OpusPacket:
    """20 ms. `level` in -dBov, 0 loud ... 127 silent. An empty payload is not sent: discontinuous transmission."""

    payload: bytes
    level: int


#: What a browser sends for a track that is not enabled.
SILENCE = OpusPacket(b"\xf8\xff\xfe", SILENT)
#: A packet with an empty frame: discontinuous transmission.
DTX = OpusPacket(b"\xf8", SILENT)


@dataclass(frozen=True, slots=True)
class Speech:
    """Packets of 20 ms each. `text` and `language` where it is speech."""

    name: str
    packets: tuple[OpusPacket, ...]
    language: str = ""
    text: str = ""

    @property
    def duration_s(self) -> float:
        return len(self.packets) * FRAME_S

    def part(self, start_s: float, end_s: float) -> Speech:
        """The same from `start_s` to `end_s`; its times count from there, its text is not known."""
        packets = self.packets[round(start_s / FRAME_S) : round(end_s / FRAME_S)]
        return Speech(f"{self.name}[{start_s:g}:{end_s:g}]", packets, self.language)


def level_of(samples: npt.NDArray[np.float32]) -> int:
    """RFC 6464 level of float samples in [-1, 1]."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    if power <= 0:
        return SILENT
    return min(SILENT, max(0, round(-10 * math.log10(power))))


@lru_cache(maxsize=16)
def from_recording(recording: Recording) -> Speech:
    """The recording's own packets, not encoded again. Raises ValueError unless each holds 20 ms."""
    payloads = []
    with av.open(str(recording.path)) as container:
        for packet in container.demux(audio=0):
            if packet.size:
                # The first and the last packet of a stream may be cut short by pre-skip and granule position.
                if packet.duration and packet.time_base and packet.duration * packet.time_base > FRAME_S + 0.001:
                    raise ValueError(f"{recording.name} has packets that do not hold 20 ms")
                payloads.append(bytes(packet))
    return Speech(recording.name, _with_levels(payloads, recording.pcm()), recording.language, recording.text)


def from_samples(name: str, samples: npt.NDArray[np.float32], *, bit_rate: int = 32_000) -> Speech:
    """Encodes mono float samples at 48 kHz."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate = CLOCK_RATE
    encoder.layout = "mono"
    encoder.format = "flt"
    encoder.bit_rate = bit_rate
    encoder.time_base = Fraction(1, CLOCK_RATE)
    encoder.options = {"application": "voip", "frame_duration": "20"}
    payloads = []
    for start in range(0, len(samples) - FRAME_TICKS + 1, FRAME_TICKS):
        piece = np.ascontiguousarray(samples[start : start + FRAME_TICKS], dtype=np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="mono")
        frame.sample_rate, frame.pts = CLOCK_RATE, start
        payloads += [bytes(packet) for packet in encoder.encode(frame)]
    return Speech(name, _with_levels(payloads, samples))


def discontinuous(name: str, samples: npt.NDArray[np.float32], *, bit_rate: int = 32_000) -> Speech:
    """Encodes mono float samples at 48 kHz as a browser does with `usedtx=1`: in a pause next to nothing is sent.

    Raises OpusError where there is no libopus.
    """
    encoder = OpusEncoder(bitrate=bit_rate, dtx=True)
    starts = range(0, len(samples) - FRAME_TICKS + 1, FRAME_TICKS)
    payloads = [encoder.encode(samples[start : start + FRAME_TICKS]) for start in starts]
    # libopus: a packet of 2 bytes or less does not need to be transmitted.
    return Speech(name, _with_levels([payload if len(payload) > 2 else b"" for payload in payloads], samples))


@lru_cache(maxsize=8)
def tone(seconds: float, hertz: float = 440.0) -> Speech:
    """A tone that wobbles, so that it is never mistaken for silence or noise."""
    times = np.arange(int(seconds * CLOCK_RATE), dtype=np.float32) / CLOCK_RATE
    loudness = 0.3 + 0.1 * np.sin(2 * np.pi * 3 * times)
    return from_samples(f"tone {hertz:g} Hz", (loudness * np.sin(2 * np.pi * hertz * times)).astype(np.float32))


@lru_cache(maxsize=8)
def room_noise(seconds: float = 4.0, loudness: float = 0.001) -> Speech:
    """The microphone of a silent person: noise at -60 dBFS."""
    samples = np.random.default_rng(1).normal(0.0, loudness, int(seconds * CLOCK_RATE))
    return from_samples("room noise", samples.astype(np.float32))


def _with_levels(payloads: list[bytes], samples: npt.NDArray[np.float32]) -> tuple[OpusPacket, ...]:
    starts = range(0, len(payloads) * FRAME_TICKS, FRAME_TICKS)
    return tuple(
        OpusPacket(payload, level_of(samples[start : start + FRAME_TICKS]))
        for payload, start in zip(payloads, starts, strict=True)
    )

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Decode Opus (RFC 6716) to 24 kHz mono float32.

`decoder` returns a decoder of libopus, which decodes at 24 kHz, conceals lost packets and recovers them from the next packet's
in-band FEC. Without libopus it returns `PyavDecoder` (FFmpeg).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import av
import av.error
import numpy as np

from live_transcription.errors import OpusError
from live_transcription.opus.libopus import RESET_STATE, create_decoder, ffi, load, reason, require
from live_transcription.opus.packet import MAX_PACKET_TICKS, packet_ticks
from live_transcription.types import OPUS_CLOCK_RATE, SAMPLE_RATE, Frame

TICKS_PER_SAMPLE = OPUS_CLOCK_RATE // SAMPLE_RATE
MAX_PACKET_SAMPLES = MAX_PACKET_TICKS // TICKS_PER_SAMPLE
#: libopus conceals and recovers audio in steps of 2.5 ms.
STEP_SAMPLES = SAMPLE_RATE // 400

#: Passes an array's samples to libopus. Typed as Any since the type checker does not know before Python 3.12 that arrays are
#: buffers.
_floats: Any = partial(ffi.from_buffer, ffi.typeof("float[]"))


class Decoder(Protocol):
    """Decodes one stream into `out`: float32, 24 kHz mono, contiguous, at most 120 ms long."""

    def decode(self, payload: bytes, out: Frame) -> None:
        """Decode one packet. `out` is as long as the packet (`packet_samples`).

        Raises OpusError if the packet is malformed. The decoder remains usable, and `out` is undefined then.
        """

    def conceal(self, out: Frame) -> None:
        """Extrapolate lost audio from the audio before it."""

    def recover(self, payload: bytes, out: Frame) -> bool:
        """Decode the audio right before `payload` from its in-band FEC. `payload` itself has yet to be decoded.

        Returns False if `payload` has no FEC, or if `out` is not a multiple of `STEP_SAMPLES`.
        """

    def reset(self) -> None:
        """Reset the decoder, since the next packet does not continue the previous ones."""


def decoder() -> Decoder:
    """Create a decoder for one stream: libopus, or FFmpeg if libopus is not found."""
    return OpusDecoder() if load() is not None else PyavDecoder()


def packet_samples(payload: bytes) -> int | None:
    """Return a packet's duration in samples at 24 kHz, None if it is malformed."""
    ticks = packet_ticks(payload)
    return None if ticks is None else ticks // TICKS_PER_SAMPLE


class OpusDecoder:
    """A `Decoder` on libopus. Raises OpusError if libopus is missing (see `decoder`) or out of memory."""

    def __init__(self) -> None:
        self._library = require()
        self._state = create_decoder(self._library, SAMPLE_RATE)
        self._decode = self._library.opus_decode_float
        try:
            self._has_fec = self._library.opus_packet_has_lbrr
        except AttributeError:  # before libopus 1.4; then FEC is tried on any packet and falls back to concealment
            self._has_fec = None

    def decode(self, payload: bytes, out: Frame) -> None:
        if not payload:
            raise OpusError("The Opus payload is empty.")
        # libopus never writes more than the frame size it is given, whatever the payload says.
        done = self._decode(self._state, payload, len(payload), _floats(out), len(out), 0)
        if done != len(out):
            # The state may be half changed by now. libopus copes with that.
            raise OpusError(
                "libopus refused a payload of {count} bytes: {reason}.",
                count=len(payload),
                reason=reason(self._library, min(done, 0)),
            )

    def conceal(self, out: Frame) -> None:
        beyond = -len(out) % STEP_SAMPLES
        space: Frame = np.empty(len(out) + beyond, dtype=np.float32) if beyond else out
        done = self._decode(self._state, ffi.NULL, 0, _floats(space), len(space), 0)
        space[max(0, done) :] = 0.0
        if beyond:
            out[:] = space[: len(out)]

    def recover(self, payload: bytes, out: Frame) -> bool:
        if not payload or len(out) % STEP_SAMPLES or (self._has_fec is not None and self._has_fec(payload, len(payload)) <= 0):
            return False
        done = self._decode(self._state, payload, len(payload), _floats(out), len(out), 1)
        return bool(done == len(out))

    def reset(self) -> None:
        self._library.opus_decoder_ctl(self._state, RESET_STATE)


class PyavDecoder:
    """A `Decoder` on FFmpeg: about 30 ms late, lost audio becomes silence, no FEC."""

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self._context = av.CodecContext.create("opus", "r")
        self._context.sample_rate = OPUS_CLOCK_RATE
        self._context.layout = "stereo"
        self._resampler = av.AudioResampler(format="flt", layout="stereo", rate=SAMPLE_RATE)
        self._late: Frame = np.zeros(0, dtype=np.float32)

    def decode(self, payload: bytes, out: Frame) -> None:
        if not payload:
            raise OpusError("The Opus payload is empty.")
        try:
            decoded = self._context.decode(av.Packet(payload))
        except (av.error.FFmpegError, ValueError) as error:
            self._open()
            raise OpusError("FFmpeg refused an Opus payload of {count} bytes.", count=len(payload)) from error
        parts = [part.to_ndarray().reshape(-1, 2) for frame in decoded for part in self._resampler.resample(frame)]
        late: Frame = np.concatenate([self._late, *(part.mean(axis=1, dtype=np.float32) for part in parts)])
        missing = max(0, len(out) - len(late))
        out[:missing] = 0.0
        out[missing:] = late[: len(out) - missing]
        self._late = late[len(out) - missing :][:MAX_PACKET_SAMPLES]

    def conceal(self, out: Frame) -> None:
        out[:] = 0.0

    def recover(self, payload: bytes, out: Frame) -> bool:  # noqa: ARG002
        return False

    def reset(self) -> None:
        self._open()

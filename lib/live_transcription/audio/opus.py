# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Opus (RFC 6716) straight to 24 kHz mono float32, and the encoder that callers of the sandbox and the tests need.

`decoder()` gives libopus where there is one: it decodes at 24 kHz itself, conceals lost packets and recovers them from the
next packet's in-band FEC. `PyavDecoder` (FFmpeg, then soxr) stands in where there is no libopus.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import av
import av.error
import numpy as np
import numpy.typing as npt

from live_transcription.audio.resampler import Resampler
from live_transcription.errors import OpusError
from live_transcription.opus.libopus import ffi, load
from live_transcription.opus.packet import MAX_PACKET_TICKS, packet_ticks
from live_transcription.types import OPUS_CLOCK_RATE, SAMPLE_RATE, Frame

TICKS_PER_SAMPLE = OPUS_CLOCK_RATE // SAMPLE_RATE
MAX_PACKET_SAMPLES = MAX_PACKET_TICKS // TICKS_PER_SAMPLE
#: libopus conceals and recovers in steps of 2.5 ms.
STEP_SAMPLES = SAMPLE_RATE // 400

#: An array's samples for libopus. (That arrays are buffers, the type checker knows from Python 3.12 on.)
_floats: Any = partial(ffi.from_buffer, ffi.typeof("float[]"))
_OPUS_OK = 0
_RESET_STATE = 4028
_APPLICATION_VOIP = 2048
_SET_BITRATE = 4002
_SET_COMPLEXITY = 4010
_SET_INBAND_FEC = 4012
_SET_PACKET_LOSS_PERC = 4014
_SET_DTX = 4016
_SET_SIGNAL = 4024
_SIGNAL_VOICE = 3001


class Decoder(Protocol):
    """One stream's decoder. It fills `out`: float32, 24 kHz mono, at most 120 ms, contiguous."""

    def decode(self, payload: bytes, out: Frame) -> None:
        """One packet; `out` is as long as the packet (`packet_samples`). Raises OpusError for a malformed one, which leaves
        the decoder usable and `out` undefined."""

    def conceal(self, out: Frame) -> None:
        """Lost audio, extrapolated from what came before."""

    def recover(self, payload: bytes, out: Frame) -> bool:
        """The last audio before `payload`, from its in-band FEC, in whole steps of 2.5 ms; `payload` stays to be decoded.

        False if it carries none, or `out` is not of whole steps.
        """

    def reset(self) -> None:
        """Reset the decoder: the next packet does not continue the previous ones."""


def decoder() -> Decoder:
    """A new decoder for one stream: libopus, or FFmpeg's where no libopus is found."""
    return OpusDecoder() if load() is not None else PyavDecoder()


def packet_samples(payload: bytes) -> int | None:
    """Duration in samples at 24 kHz; None if malformed."""
    ticks = packet_ticks(payload)
    return None if ticks is None else ticks // TICKS_PER_SAMPLE


class OpusDecoder:
    """`Decoder` by libopus. Raises OpusError if the library is missing (see `decoder()`) or out of memory."""

    __slots__ = ("_decode", "_has_fec", "_library", "_state")

    def __init__(self) -> None:
        self._library = _library()
        error = ffi.new("int *")
        state = self._library.opus_decoder_create(SAMPLE_RATE, 1, error)
        _check(self._library, error[0])
        self._state = ffi.gc(state, self._library.opus_decoder_destroy, self._library.opus_decoder_get_size(1))
        self._decode = self._library.opus_decode_float
        try:
            self._has_fec = self._library.opus_packet_has_lbrr
        except AttributeError:  # before libopus 1.4; FEC is then tried on any packet and falls back to concealment
            self._has_fec = None

    def decode(self, payload: bytes, out: Frame) -> None:
        if not payload:
            raise OpusError("An empty Opus payload.")
        # libopus never writes more than the frame size it is given, whatever the payload says.
        done = self._decode(self._state, payload, len(payload), _floats(out), len(out), 0)
        if done != len(out):
            # A refused packet leaves the state as it was or half changed; libopus itself goes on from either.
            raise OpusError(f"libopus refused a payload of {len(payload)} bytes: {_reason(self._library, min(done, 0))}.")

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
        self._library.opus_decoder_ctl(self._state, _RESET_STATE)


class PyavDecoder:
    """`Decoder` by FFmpeg and soxr: about 30 ms late, no concealment but silence, no FEC."""

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self._context = av.CodecContext.create("opus", "r")
        self._context.sample_rate = 48_000
        self._context.layout = "stereo"
        self._resampler = Resampler(48_000, 2)
        self._late: Frame = np.zeros(0, dtype=np.float32)

    def decode(self, payload: bytes, out: Frame) -> None:
        if not payload:
            raise OpusError("An empty Opus payload.")
        try:
            decoded = self._context.decode(av.Packet(payload))
        except (av.error.FFmpegError, ValueError) as error:
            self._open()
            raise OpusError(f"FFmpeg refused an Opus payload of {len(payload)} bytes.") from error
        late = np.concatenate([self._late, *(self._resampler.push(_interleaved(frame)) for frame in decoded)])
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


class OpusEncoder:
    """libopus' encoder for speech: for callers that publish recordings, and for tests.

    `fec` with `expected_loss_percent` > 0 puts a copy of each frame into the next packet; `dtx` sends packets of 1-2 bytes
    in silence.
    """

    def __init__(
        self,
        sample_rate: int = 48_000,
        channels: int = 1,
        *,
        bitrate: int = 32_000,
        complexity: int = 5,
        fec: bool = True,
        expected_loss_percent: int = 0,
        dtx: bool = False,
    ) -> None:
        self._library = _library()
        self._channels = channels
        error = ffi.new("int *")
        state = self._library.opus_encoder_create(sample_rate, channels, _APPLICATION_VOIP, error)
        _check(self._library, error[0])
        self._state = ffi.gc(state, self._library.opus_encoder_destroy, self._library.opus_encoder_get_size(channels))
        self._buffer = ffi.new("unsigned char[4000]")
        for request, value in (
            (_SET_BITRATE, bitrate),
            (_SET_COMPLEXITY, complexity),
            (_SET_INBAND_FEC, int(fec)),
            (_SET_PACKET_LOSS_PERC, expected_loss_percent),
            (_SET_DTX, int(dtx)),
            (_SET_SIGNAL, _SIGNAL_VOICE),
        ):
            _check(self._library, self._library.opus_encoder_ctl(self._state, request, ffi.cast("int32_t", value)))

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        """One packet of float32 samples, shape (n,) or (n, channels); n is 2.5, 5, 10, 20, 40 or 60 ms. Raises OpusError."""
        pcm = np.ascontiguousarray(samples, dtype=np.float32)
        count = pcm.size // self._channels
        size = self._library.opus_encode_float(self._state, ffi.from_buffer("float[]", pcm.data), count, self._buffer, 4000)
        _check(self._library, min(size, _OPUS_OK))
        return bytes(ffi.buffer(self._buffer, size))


def _library() -> Any:
    library = load()
    if library is None:
        raise OpusError("libopus is missing.", fix="Install the package libopus0.")
    return library


def _check(library: Any, status: int) -> None:
    if status < _OPUS_OK:
        raise OpusError(f"libopus: {_reason(library, status)}.")


def _reason(library: Any, status: int) -> str:
    text = ffi.string(library.opus_strerror(status))
    assert isinstance(text, bytes)
    return text.decode("ascii", "replace")


def _interleaved(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    """Shape (samples, channels), whatever FFmpeg's sample format."""
    array: npt.NDArray[Any] = frame.to_ndarray()
    channels = frame.layout.nb_channels
    shaped = array.T if frame.format.is_planar else array.reshape(-1, channels)
    if shaped.shape[1] == 1:
        shaped = np.repeat(shaped, 2, axis=1)
    if shaped.dtype == np.int16:
        return shaped.astype(np.float32) / 32_768.0
    return np.ascontiguousarray(shaped, dtype=np.float32)

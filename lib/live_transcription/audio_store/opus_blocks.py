# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Blocks of 24 kHz mono float32 as Opus (RFC 6716), for audio that waits: 4 kB a second.

The encoder is told to be quick, not clever: the MDCT layer alone (`OPUS_APPLICATION_RESTRICTED_LOWDELAY`) keeps the waveform
and takes half the time of the speech layer. One encoder and one decoder serve all speakers of the event loop, begun anew for
each block: 20 ms before it let them settle, 20 ms after it hold what their delay of 2.5 ms puts off.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import numpy as np

from live_transcription.audio_store.codec import LOG_CODEC, BlockCodec
from live_transcription.errors import OpusError
from live_transcription.opus.libopus import ffi, load
from live_transcription.types import SAMPLE_RATE, Frame

logger = logging.getLogger(__name__)

#: Bits a second.
_BITRATE = 32_000
_PACKET = SAMPLE_RATE * 20 // 1000
#: What encoder and decoder together are behind their input in this mode: 2.5 ms.
_DELAY = SAMPLE_RATE // 400
_APPLICATION_RESTRICTED_LOWDELAY = 2051
_SET_BITRATE = 4002
_SET_COMPLEXITY = 4010
_RESET_STATE = 4028


class OpusBlocks:
    """A `BlockCodec` (see `stt.block_codec`) for blocks of whole 20 ms. Raises OpusError where there is no libopus."""

    lead = _PACKET
    tail = _PACKET

    def __init__(self) -> None:
        library = load()
        if library is None:
            raise OpusError("libopus is missing.", fix="Install the package libopus0.")
        self._library: Any = library
        error = ffi.new("int *")
        encoder = library.opus_encoder_create(SAMPLE_RATE, 1, _APPLICATION_RESTRICTED_LOWDELAY, error)
        if error[0] < 0:
            raise OpusError("libopus gives no encoder.")
        self._encoder = ffi.gc(encoder, library.opus_encoder_destroy, library.opus_encoder_get_size(1))
        decoder = library.opus_decoder_create(SAMPLE_RATE, 1, error)
        if error[0] < 0:
            raise OpusError("libopus gives no decoder.")
        self._decoder = ffi.gc(decoder, library.opus_decoder_destroy, library.opus_decoder_get_size(1))
        for request, value in ((_SET_BITRATE, _BITRATE), (_SET_COMPLEXITY, 0)):
            library.opus_encoder_ctl(self._encoder, request, ffi.cast("int32_t", value))
        self._buffer = ffi.new("unsigned char[1276]")

    def pack(self, audio: Frame) -> bytes:
        """Each packet after a byte or two of its length, as RFC 6716, section 3.2.1, writes lengths."""
        library, buffer = self._library, self._buffer
        library.opus_encoder_ctl(self._encoder, _RESET_STATE)
        pcm = ffi.from_buffer("float[]", np.ascontiguousarray(audio, np.float32).data)
        packed = bytearray()
        for start in range(0, len(audio), _PACKET):
            size = library.opus_encode_float(self._encoder, pcm + start, _PACKET, buffer, 1276)
            if size < 0:
                raise OpusError("libopus does not encode a packet of 20 ms.")
            packed += bytes((size,)) if size < 252 else bytes((252 + (size & 3), (size - 252) >> 2))
            packed += ffi.buffer(buffer, size)
        return bytes(packed)

    def unpack(self, packed: bytes, samples: int) -> Frame:
        library = self._library
        library.opus_decoder_ctl(self._decoder, _RESET_STATE)
        data = ffi.from_buffer("unsigned char[]", packed)
        # A packet never gives more than it was made of, and the decoder is told so as well.
        audio = np.zeros(self.lead + samples + self.tail, np.float32)
        pcm = ffi.from_buffer("float[]", audio.data)
        at = done = 0
        while at < len(packed):
            size, at = packed[at], at + 1
            if size >= 252:
                size, at = size + 4 * packed[at], at + 1
            got = library.opus_decode_float(self._decoder, data + at, size, pcm + done, len(audio) - done, 0)
            if got <= 0:
                raise OpusError("libopus does not read its own packet.")
            done, at = done + got, at + size
        start = self.lead + _DELAY
        found: Frame = np.clip(audio[start : start + samples], -1.0, 1.0)  # a decoder may go beyond what went in
        return found


@functools.cache
def best_codec() -> BlockCodec:
    """The one for all speakers: Opus, or mu-law where there is no libopus, which takes six times the memory."""
    if load() is None:
        logger.warning("Without libopus, audio that waits for a server takes 2.9 MB per speaker instead of 0.6 MB.")
        return LOG_CODEC
    return OpusBlocks()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Compress 24 kHz mono float32 with Opus (RFC 6716), for audio that waits for a long time: 4 kB per second.

The encoder is set to be fast: its MDCT layer alone (`OPUS_APPLICATION_RESTRICTED_LOWDELAY`) preserves the waveform and takes
half the time of the speech layer. One encoder and one decoder serve all speakers of the event loop. Both are reset for each
block: the 20 ms before the block let them settle, and the 20 ms after it contain what their delay of 2.5 ms postpones.
"""

from __future__ import annotations

import functools
import logging

import numpy as np

from live_transcription.audio_store.codec import LOG_CODEC, BlockCodec
from live_transcription.errors import OpusError
from live_transcription.opus import libopus
from live_transcription.types import SAMPLE_RATE, Frame

logger = logging.getLogger(__name__)

#: Bits per second.
_BITRATE = 32_000
_PACKET = SAMPLE_RATE * 20 // 1000
_MAX_PACKET_OCTETS = 1_276
#: Delay of encoder and decoder together in this mode: 2.5 ms.
_DELAY = SAMPLE_RATE // 400
_APPLICATION_RESTRICTED_LOWDELAY = 2051


class OpusBlocks:
    """A `BlockCodec` for blocks of a multiple of 20 ms. Raises OpusError if libopus is missing."""

    lead = _PACKET
    tail = _PACKET

    def __init__(self) -> None:
        library = self._library = libopus.require()
        self._encoder = libopus.create_encoder(library, SAMPLE_RATE, 1, _APPLICATION_RESTRICTED_LOWDELAY)
        self._decoder = libopus.create_decoder(library, SAMPLE_RATE)
        for request, value in ((libopus.SET_BITRATE, _BITRATE), (libopus.SET_COMPLEXITY, 0)):
            library.opus_encoder_ctl(self._encoder, request, libopus.ffi.cast("int32_t", value))
        self._buffer = libopus.ffi.new("unsigned char[]", _MAX_PACKET_OCTETS)

    def pack(self, audio: Frame) -> bytes:
        """Encode a block. Each packet follows one or two octets with its length, as in RFC 6716, section 3.2.1."""
        library, buffer = self._library, self._buffer
        library.opus_encoder_ctl(self._encoder, libopus.RESET_STATE)
        pcm = libopus.ffi.from_buffer("float[]", np.ascontiguousarray(audio, np.float32).data)
        packed = bytearray()
        for start in range(0, len(audio), _PACKET):
            size = library.opus_encode_float(self._encoder, pcm + start, _PACKET, buffer, _MAX_PACKET_OCTETS)
            libopus.check(library, size)
            packed += bytes((size,)) if size < 252 else bytes((252 + (size & 3), (size - 252) >> 2))
            packed += libopus.ffi.buffer(buffer, size)
        return bytes(packed)

    def unpack(self, packed: bytes, samples: int) -> Frame:
        """Decode a block of `samples` samples. Raises OpusError if it is damaged."""
        library = self._library
        library.opus_decoder_ctl(self._decoder, libopus.RESET_STATE)
        data = libopus.ffi.from_buffer("unsigned char[]", packed)
        audio = np.zeros(self.lead + samples + self.tail, np.float32)
        pcm = libopus.ffi.from_buffer("float[]", audio.data)
        position = done = 0
        while position < len(packed):
            size, position = packed[position], position + 1
            if size >= 252:
                size, position = size + 4 * packed[position], position + 1
            # libopus never writes more than the space that it is given.
            count = library.opus_decode_float(self._decoder, data + position, size, pcm + done, len(audio) - done, 0)
            if count <= 0:
                raise OpusError("libopus cannot decode its own packet.")
            done, position = done + count, position + size
        start = self.lead + _DELAY
        block: Frame = np.clip(audio[start : start + samples], -1.0, 1.0)  # a decoder may exceed the range of its input
        return block


@functools.cache
def best_codec() -> BlockCodec:
    """Return the codec for all speakers: Opus, or mu-law without libopus, which takes six times the memory."""
    if libopus.load() is None:
        logger.warning("Without libopus, audio that waits for a server takes 2.9 MB per speaker instead of 0.6 MB.")
        return LOG_CODEC
    return OpusBlocks()

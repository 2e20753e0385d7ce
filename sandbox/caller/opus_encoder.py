# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""libopus' encoder for speech: for callers that publish recordings, and for tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from live_transcription.opus.libopus import SET_BITRATE, SET_COMPLEXITY, check, create_encoder, ffi, require

_APPLICATION_VOIP = 2048
_SET_INBAND_FEC = 4012
_SET_PACKET_LOSS_PERC = 4014
_SET_DTX = 4016
_SET_SIGNAL = 4024
_SIGNAL_VOICE = 3001
_MAX_OCTETS = 4_000


class OpusEncoder:
    """Encodes one stream. Raises OpusError if libopus is missing.

    `fec` with `expected_loss_percent` > 0 adds a copy of each frame to the next packet. With `dtx`, packets of silence have 1
    or 2 octets.
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
        self._library = require()
        self._channels = channels
        self._state = create_encoder(self._library, sample_rate, channels, _APPLICATION_VOIP)
        self._buffer = ffi.new("unsigned char[]", _MAX_OCTETS)
        for request, value in (
            (SET_BITRATE, bitrate),
            (SET_COMPLEXITY, complexity),
            (_SET_INBAND_FEC, int(fec)),
            (_SET_PACKET_LOSS_PERC, expected_loss_percent),
            (_SET_DTX, int(dtx)),
            (_SET_SIGNAL, _SIGNAL_VOICE),
        ):
            check(self._library, self._library.opus_encoder_ctl(self._state, request, ffi.cast("int32_t", value)))

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        """Encode float32 samples of shape (n,) or (n, channels), 2.5, 5, 10, 20, 40 or 60 ms. Raises OpusError."""
        pcm = np.ascontiguousarray(samples, dtype=np.float32)
        count = pcm.size // self._channels
        size = self._library.opus_encode_float(
            self._state, ffi.from_buffer("float[]", pcm.data), count, self._buffer, _MAX_OCTETS
        )
        check(self._library, size)
        return bytes(ffi.buffer(self._buffer, size))

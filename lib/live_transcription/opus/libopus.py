# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""libopus by cffi in ABI mode: no compiler, no extra package. PyAV's wheel carries the library; Debian calls it `libopus0`."""

from __future__ import annotations

import ctypes.util
import functools
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cffi import FFI

logger = logging.getLogger(__name__)

ffi = FFI()
ffi.cdef(
    """
    typedef struct OpusDecoder OpusDecoder;
    typedef struct OpusEncoder OpusEncoder;
    const char *opus_get_version_string(void);
    const char *opus_strerror(int error);
    int opus_decoder_get_size(int channels);
    OpusDecoder *opus_decoder_create(int32_t Fs, int channels, int *error);
    int opus_decode_float(OpusDecoder *st, const unsigned char *data, int32_t len, float *pcm, int frame_size, int decode_fec);
    int opus_decoder_ctl(OpusDecoder *st, int request, ...);
    void opus_decoder_destroy(OpusDecoder *st);
    int opus_encoder_get_size(int channels);
    OpusEncoder *opus_encoder_create(int32_t Fs, int channels, int application, int *error);
    int opus_encoder_ctl(OpusEncoder *st, int request, ...);
    int32_t opus_encode_float(OpusEncoder *st, const float *pcm, int frame_size, unsigned char *data, int32_t max_data_bytes);
    void opus_encoder_destroy(OpusEncoder *st);
    int opus_packet_has_lbrr(const unsigned char packet[], int32_t len);
    """
)


def _candidates() -> Iterator[str]:
    av = find_spec("av")
    if av is not None and av.origin is not None:
        site_packages = Path(av.origin).parent.parent
        yield from sorted(str(path) for path in site_packages.glob("av.libs/libopus-*.so*"))
    yield "libopus.so.0"
    found = ctypes.util.find_library("opus")
    if found is not None:
        yield found


@functools.cache
def load() -> Any | None:
    """The library, or None where there is none (then FFmpeg's decoder serves, `audio.opus.PyavDecoder`)."""
    for name in _candidates():
        try:
            library: Any = ffi.dlopen(name)
            version = ffi.string(library.opus_get_version_string())
        except (OSError, AttributeError):
            continue
        assert isinstance(version, bytes)
        logger.debug("Opus is decoded by %s", version.decode("ascii", "replace"))
        return library
    logger.warning("No libopus was found; Opus is decoded by FFmpeg, at more cost. Install the package libopus0.")
    return None

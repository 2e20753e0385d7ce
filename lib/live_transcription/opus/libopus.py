# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""libopus through cffi in ABI mode: no compiler and no extra package needed.

PyAV's wheel contains the library; Debian's package is `libopus0`.
"""

from __future__ import annotations

import ctypes.util
import functools
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cffi import FFI

from live_transcription.errors import OpusError

logger = logging.getLogger(__name__)

# Control requests (opus_defines.h).
RESET_STATE = 4028
SET_BITRATE = 4002
SET_COMPLEXITY = 4010

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


def candidates() -> Iterator[str]:
    """Yield the names under which libopus may be found: in PyAV's wheel, then in the system."""
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
    """Return the library, or None if it is not found. FFmpeg decodes then (`audio.opus.PyavDecoder`)."""
    for name in candidates():
        try:
            library: Any = ffi.dlopen(name)
            version = ffi.string(library.opus_get_version_string())
        except (OSError, AttributeError):
            continue
        assert isinstance(version, bytes)
        logger.debug("Opus is decoded with %s", version.decode("ascii", "replace"))
        return library
    logger.warning("libopus was not found, so FFmpeg decodes Opus, which takes more CPU. Install the package libopus0.")
    return None


def require() -> Any:
    """Return the library. Raises OpusError if it is not found."""
    library = load()
    if library is None:
        raise OpusError("libopus is missing.", fix="Install the package libopus0.")
    return library


def create_decoder(library: Any, sample_rate: int) -> Any:
    """Create a mono decoder, which is freed with the last reference to it. Raises OpusError."""
    error = ffi.new("int *")
    state = library.opus_decoder_create(sample_rate, 1, error)
    check(library, error[0])
    return ffi.gc(state, library.opus_decoder_destroy, library.opus_decoder_get_size(1))


def create_encoder(library: Any, sample_rate: int, channels: int, application: int) -> Any:
    """Create an encoder, which is freed with the last reference to it. Raises OpusError."""
    error = ffi.new("int *")
    state = library.opus_encoder_create(sample_rate, channels, application, error)
    check(library, error[0])
    return ffi.gc(state, library.opus_encoder_destroy, library.opus_encoder_get_size(channels))


def check(library: Any, status: int) -> None:
    """Raise OpusError if a status of libopus is an error."""
    if status < 0:
        raise OpusError("libopus: {reason}.", reason=reason(library, status))


def reason(library: Any, status: int) -> str:
    """Return the text of a status of libopus."""
    text = ffi.string(library.opus_strerror(status))
    assert isinstance(text, bytes)
    return text.decode("ascii", "replace")

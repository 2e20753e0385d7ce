# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Compress stored audio in blocks, each of which can be decompressed without the others. Pure.

`LogCodec` takes one byte per sample (mu-law, ITU-T G.711) at next to no cost. `opus_blocks` takes a sixth of that, for about 2
ms of CPU per second of audio.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from live_transcription.types import Frame


class BlockCodec(Protocol):
    """Compresses blocks of audio.

    `lead` and `tail` are the numbers of samples before and after a block that are compressed along with it, so that the joint
    between two blocks is inaudible.
    """

    @property
    def lead(self) -> int:
        """Samples before a block."""

    @property
    def tail(self) -> int:
        """Samples after a block."""

    def pack(self, audio: Frame) -> bytes:
        """Compress a block with its lead and tail (float32, finite, in [-1, 1])."""

    def unpack(self, packed: bytes, samples: int) -> Frame:
        """Return the block: `samples` samples, aligned with the original, as a new array."""


class LogCodec:
    """A `BlockCodec` with mu-law (ITU-T G.711), by one table per direction: 8 bits per sample, 24 kB per second."""

    lead = 0
    tail = 0

    def pack(self, audio: Frame) -> bytes:
        return _COMPRESS.take((audio * np.float32(32767)).astype(np.int16).view(np.uint16)).tobytes()

    def unpack(self, packed: bytes, samples: int) -> Frame:
        return _EXPAND.take(np.frombuffer(packed, np.uint8, samples))


def _expand() -> npt.NDArray[np.float32]:
    """G.711, table 2a: sign, three bits of segment, four bits of step. They are inverted on the wire, but not here."""
    code = np.arange(256)
    segment, step = (code >> 4) & 7, code & 15
    level = ((2 * step + 33) << segment) - 33
    # 8031 is the highest level of 14 bits.
    return (np.where(code & 0x80, -level, level) / 8192.0).astype(np.float32)


def _compress() -> npt.NDArray[np.uint8]:
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    level = np.minimum(np.abs(sample) >> 2, 8158) + 33
    segment = np.log2(level).astype(np.int32) - 5
    step = (level >> (segment + 1)) & 15
    code: npt.NDArray[np.uint8] = (np.where(sample < 0, 0x80, 0) | segment << 4 | step).astype(np.uint8)
    return code


_EXPAND = _expand()
_COMPRESS = _compress()

#: The codec for blocks that are stored only briefly, and for all blocks if libopus is missing.
LOG_CODEC = LogCodec()

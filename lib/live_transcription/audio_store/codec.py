# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""How audio that is kept for a while is packed: one block at a time, each of which can be read without the others.

`LogCodec` is here: one byte a sample by the mu-law of ITU-T G.711, at next to no cost. `stt.opus_blocks` packs six times
closer for some 2 ms of CPU per second of audio, where there is libopus.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from live_transcription.types import Frame


class BlockCodec(Protocol):
    """`lead`, `tail`: samples before and after a block that are packed along with it, so that no joint is heard."""

    @property
    def lead(self) -> int: ...

    @property
    def tail(self) -> int: ...

    def pack(self, audio: Frame) -> bytes:
        """`lead`, a block and `tail` (float32, finite, within [-1, 1])."""

    def unpack(self, packed: bytes, samples: int) -> Frame:
        """The block itself: exactly so many samples, in time with the original. The array is the caller's."""


class LogCodec:
    """ITU-T G.711 mu-law with a table of its own for each direction: 8 bits a sample, 24 kB a second."""

    lead = 0
    tail = 0

    def pack(self, audio: Frame) -> bytes:
        return _COMPRESS.take((audio * np.float32(32767)).astype(np.int16).view(np.uint16)).tobytes()

    def unpack(self, packed: bytes, samples: int) -> Frame:
        return _EXPAND.take(np.frombuffer(packed, np.uint8, samples))


def _expand() -> npt.NDArray[np.float32]:
    """G.711, table 2a: sign, three bits of segment, four of step, all inverted on the wire; here they are not."""
    code = np.arange(256)
    segment, step = (code >> 4) & 7, code & 15
    level = ((2 * step + 33) << segment) - 33
    # 8031 is the greatest level of 14 bits.
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

#: The one that is used wherever nothing better is at hand.
LOG_CODEC = LogCodec()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Store audio that waits to be sent or may have to be sent again, bounded in seconds and compressed. Pure.

Positions count samples since the stream began and never decrease. Memory is allocated in blocks of one second. The newest one
or two are float32, older ones are compressed. Audio that has been sent by then (`sent`) is kept in case the connection breaks,
mostly for moments, so it is compressed with mu-law at next to no cost. Unsent audio waits for a server, perhaps for long, so it
is compressed with Opus. Sent audio that stays is recompressed with Opus, one block at a time.

| codec | per second | 120 s |
|---|---|---|
| Opus (`opus_blocks`) | 4 kB | 0.5 MB |
| mu-law (`codec`) | 24 kB | 2.9 MB |
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from live_transcription.audio_store.budget import AudioBudget
from live_transcription.audio_store.codec import LOG_CODEC, BlockCodec
from live_transcription.types import SAMPLE_RATE, Frame

_BLOCK = SAMPLE_RATE
_PLAIN_BYTES = 4 * _BLOCK
#: Number of complete blocks that stay uncompressed. By then most utterances are over and most connections are open.
_PLAIN_BLOCKS = 1
#: Number of newest blocks that stay compressed with mu-law: more than a stream keeps of what it has sent (`stt.resilient`).
_LOG_BLOCKS = 20


@dataclass(slots=True, eq=False)
class _Block:
    """One second of audio. `plain` is None once it is compressed into `packed`."""

    plain: Frame | None
    packed: bytes = b""
    codec: BlockCodec = LOG_CODEC

    @property
    def memory_bytes(self) -> int:
        return len(self.packed) if self.plain is None else _PLAIN_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class _Lead:
    """The samples right before the block that begins at `position`."""

    position: int
    samples: Frame


_NO_LEAD = _Lead(-1, np.zeros(0, np.float32))


class AudioRing:
    """Stores the audio in [start, end). `append` drops the oldest audio beyond `capacity_s`; `forget` drops what is done with.

    `codec=None` compresses nothing. Call `close` when the ring is not needed any more, or its memory still counts in `budget`.
    """

    def __init__(self, capacity_s: float, *, codec: BlockCodec | None = None, budget: AudioBudget | None = None) -> None:
        self.capacity = round(capacity_s * SAMPLE_RATE)
        if self.capacity <= 0:
            raise ValueError("capacity_s must be positive.")
        #: Audio before this position has been sent on a connection that is still open.
        self.sent = 0
        #: Audio before this position that was not forgotten has been dropped for lack of space.
        self.dropped = 0
        self._codec = codec
        self._budget = budget
        self._counted_bytes = 0
        self._blocks: deque[_Block] = deque()
        self._packed = 0
        # Position of the first sample of the first block; a multiple of the block's length.
        self._base = 0
        #: The oldest position that is stored.
        self.start = 0
        #: The position of the next sample.
        self.end = 0
        # The end of the last block that was compressed, and of the last one that was recompressed, for the block that follows.
        self._lead, self._lead_again = _NO_LEAD, _NO_LEAD
        # The block that was decompressed by the last `read`.
        self._unpacked: tuple[_Block, Frame] | None = None

    @property
    def memory_bytes(self) -> int:
        """The memory that the audio takes, compressed or not."""
        return self._stored_bytes() + (0 if self._unpacked is None else _PLAIN_BYTES)

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, frame: Frame) -> None:
        """Copy a frame (float32, any length) to the end. The oldest audio is dropped if there is no space (see `dropped`)."""
        samples = len(frame)
        if self.end + samples - self.start > self.capacity:
            self._drop_to(self.end + samples - self.capacity)
        offset = self.end - self._base - _BLOCK * (len(self._blocks) - 1)
        if offset + samples <= _BLOCK and self._blocks and (newest := self._blocks[-1].plain) is not None:
            newest[offset : offset + samples] = frame
            self.end += samples
        else:
            self._append_across(frame)
        if self._packed < len(self._blocks) - 1 - _PLAIN_BLOCKS and self._codec is not None:
            self._pack(self._codec)

    def read(self, position: int, samples: int) -> Frame:
        """Return a copy of `samples` samples from `position` on, fewer at the end. Raises IndexError if they are gone."""
        if not self.start <= position <= self.end:
            raise IndexError(f"Position {position} is not in {self.start}..{self.end}.")
        stop = min(position + samples, self.end)
        audio = np.empty(stop - position, np.float32)
        done = position
        while done < stop:
            number, offset = divmod(done - self._base, _BLOCK)
            part = min(_BLOCK - offset, stop - done)
            block = self._plain(self._blocks[number])
            audio[done - position : done - position + part] = block[offset : offset + part]
            done += part
        return audio

    def forget(self, position: int) -> None:
        """Drop the audio before `position`, which is not needed any more."""
        if position <= self.start:
            return
        self.start = min(position, self.end)
        if self.start - self._base < _BLOCK:
            return
        while self._blocks and self._base + _BLOCK <= self.start:
            self._forget_unpacked(self._blocks.popleft())
            self._packed = max(0, self._packed - 1)
            self._base += _BLOCK
        if not self._blocks:
            self._base = self.start - self.start % _BLOCK
        self._count()

    def unsend(self) -> None:
        """Note that the connection is gone, so audio that was sent on it may have to be sent again."""
        self.sent = 0
        self._unpacked = None

    def drop_oldest(self) -> bool:
        """Drop the oldest block, for `AudioBudget`. Returns False if only the newest is left."""
        if len(self._blocks) < 2:
            return False
        self._drop_to(self._base + _BLOCK)
        return True

    def close(self) -> None:
        """Drop everything."""
        self.forget(self.end)
        self._blocks.clear()
        self._base = self.end - self.end % _BLOCK
        self._packed = 0
        self._lead = self._lead_again = _NO_LEAD
        self._unpacked = None
        self._count()
        if self._budget is not None:
            self._budget.left(self)

    def _drop_to(self, position: int) -> None:
        self.dropped = min(position, self.end)
        self.forget(position)

    def _append_across(self, frame: Frame) -> None:
        """Append a frame that needs a new block. If it is longer than the capacity, only its end is stored."""
        samples = len(frame)
        taken = max(0, samples - self.capacity)
        if taken:
            self.end += taken
            self._drop_to(self.end)
        while taken < samples:
            number, offset = divmod(self.end - self._base, _BLOCK)
            if number == len(self._blocks):
                self._blocks.append(_Block(np.empty(_BLOCK, np.float32)))
                self._count()
                number, offset = divmod(self.end - self._base, _BLOCK)
            part = min(_BLOCK - offset, samples - taken)
            newest = self._blocks[number].plain
            assert newest is not None
            newest[offset : offset + part] = frame[taken : taken + part]
            self.end += part
            taken += part

    def _pack(self, best: BlockCodec) -> None:
        """Compress all complete blocks but the newest: sent ones with mu-law, unsent ones with the best codec."""
        while self._packed < len(self._blocks) - 1 - _PLAIN_BLOCKS:
            block, after = self._blocks[self._packed], self._blocks[self._packed + 1].plain
            stop = self._base + (self._packed + 1) * _BLOCK
            codec = LOG_CODEC if stop <= self.sent else best
            assert block.plain is not None
            assert after is not None
            position = stop - _BLOCK
            lead = self._lead if self._lead.position == position else _NO_LEAD
            self._lead = _Lead(stop, _compress(block, block.plain, codec, lead.samples, after)[_BLOCK - best.lead :].copy())
            self._packed += 1
            if best is not LOG_CODEC:
                self._pack_again(best)
            self._count()

    def _pack_again(self, best: BlockCodec) -> None:
        """Recompress one block that is compressed with mu-law and has stayed."""
        number = next((number for number in range(self._packed - 1) if self._blocks[number].codec is not best), None)
        if number is None:
            return
        position = self._base + number * _BLOCK
        if number >= len(self._blocks) - _LOG_BLOCKS and self.sent >= position + _BLOCK:
            return
        block, after = self._blocks[number], self._blocks[number + 1]
        lead = self._lead_again
        if lead.position != position:
            lead = _Lead(position, _unpack(self._blocks[number - 1])) if number else _NO_LEAD
        samples = _compress(block, _unpack(block), best, lead.samples, _unpack(after))
        self._lead_again = _Lead(position + _BLOCK, samples[_BLOCK - best.lead :].copy())

    def _plain(self, block: _Block) -> Frame:
        if block.plain is not None:
            return block.plain
        if self._unpacked is None or self._unpacked[0] is not block:
            self._unpacked = (block, _unpack(block))
        return self._unpacked[1]

    def _forget_unpacked(self, block: _Block) -> None:
        if self._unpacked is not None and self._unpacked[0] is block:
            self._unpacked = None

    def _stored_bytes(self) -> int:
        leads = self._lead.samples.nbytes + self._lead_again.samples.nbytes
        return sum(block.memory_bytes for block in self._blocks) + leads

    def _count(self) -> None:
        if self._budget is not None:
            now_bytes = self._stored_bytes()
            more, self._counted_bytes = now_bytes - self._counted_bytes, now_bytes
            self._budget.changed(self, more)


def _unpack(block: _Block) -> Frame:
    return block.codec.unpack(block.packed, _BLOCK)


def _compress(block: _Block, plain: Frame, codec: BlockCodec, before: Frame, after: Frame) -> Frame:
    """Compress a block, given the samples before and after it. Returns the block's samples."""
    lead = np.zeros(codec.lead, np.float32)
    if len(before) and codec.lead:
        lead[-len(before) :] = before[-codec.lead :]
    audio = np.concatenate((lead, plain, after[: codec.tail]))
    block.packed = codec.pack(audio)
    block.codec, block.plain = codec, None
    return plain

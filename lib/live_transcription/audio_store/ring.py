# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Audio that waits to be sent or may have to be sent again, bounded in seconds and cheap in bytes. Pure.

Positions are samples since the stream began; they never go back. Memory comes and goes in blocks of one second: the newest
one or two are float32, older ones are packed. What has been sent by then (`sent`) is kept in case the connection breaks,
mostly for moments: it is packed at no cost, 24 kB a second. What has not waits for a server, perhaps for long, and is packed as
close as the codec can; so is, little by little, what was sent when it lasts.

| codec | a second | 120 s |
|---|---|---|
| Opus, `stt.opus_blocks` | 4 kB | 0.5 MB |
| mu-law, `stt.block_codec` | 24 kB | 2.9 MB |
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
#: So many whole blocks are not packed: by then many an utterance is over, and most connections are there.
_PATIENT_BLOCKS = 1
#: So many blocks may stay packed at no cost: more than a stream keeps of what it has sent (`resilient_stream`).
_CHEAP_BLOCKS = 20


@dataclass(slots=True, eq=False)
class _Block:
    """`plain` until it is packed."""

    plain: Frame | None
    packed: bytes = b""
    codec: BlockCodec = LOG_CODEC

    @property
    def memory_bytes(self) -> int:
        return len(self.packed) if self.plain is None else _PLAIN_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class _Lead:
    """Samples just before the block that begins at `position`."""

    position: int
    samples: Frame


_NO_LEAD = _Lead(-1, np.zeros(0, np.float32))


class AudioRing:
    """Holds [start, end). Appending beyond the capacity lets go of the oldest; `forget` lets go of what is done with.

    `codec`: None packs nothing. `close()` it when it is not needed any more, or its memory stays in the budget.
    """

    def __init__(self, capacity_s: float, *, codec: BlockCodec | None = None, budget: AudioBudget | None = None) -> None:
        self.capacity = round(capacity_s * SAMPLE_RATE)
        if self.capacity <= 0:
            raise ValueError("capacity_s must be positive")
        #: What lies before this position has been sent, on a connection that is still there.
        self.sent = 0
        #: What lay before this position and was not forgotten is gone for want of room.
        self.dropped = 0
        self._codec = codec
        self._budget = budget
        self._counted_bytes = 0
        self._blocks: deque[_Block] = deque()
        self._packed = 0
        # Position of the first sample of the first block; a multiple of the block's length.
        self._base = 0
        self._start = 0
        self._end = 0
        # The end of the last block that was packed, for the one that follows on it; and what the last read has unpacked.
        self._lead, self._lead_again = _NO_LEAD, _NO_LEAD
        self._unpacked: tuple[_Block, Frame] | None = None

    @property
    def start(self) -> int:
        """The oldest position held."""
        return self._start

    @property
    def end(self) -> int:
        """The position of the next sample to come."""
        return self._end

    @property
    def memory_bytes(self) -> int:
        """Of the samples, packed or not."""
        return self._held_bytes() + (0 if self._unpacked is None else _PLAIN_BYTES)

    def __len__(self) -> int:
        return self._end - self._start

    def append(self, frame: Frame) -> None:
        """Take a frame (float32, any length), copied. What no longer fits at the front is gone: compare `start`, `dropped`."""
        samples = len(frame)
        if self._end + samples - self._start > self.capacity:
            self._drop_to(self._end + samples - self.capacity)
        offset = self._end - self._base - _BLOCK * (len(self._blocks) - 1)
        if offset + samples <= _BLOCK and self._blocks and (newest := self._blocks[-1].plain) is not None:
            newest[offset : offset + samples] = frame
            self._end += samples
        else:
            self._append_across(frame)
        if self._packed < len(self._blocks) - 1 - _PATIENT_BLOCKS and self._codec is not None:
            self._pack(self._codec)

    def read(self, position: int, samples: int) -> Frame:
        """A copy of at most so many samples from `position` on; fewer at the end. Raises IndexError for what is gone."""
        if not self._start <= position <= self._end:
            raise IndexError(f"position {position} is not within {self._start}..{self._end}")
        stop = min(position + samples, self._end)
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
        """Audio before `position` is not needed any more."""
        if position <= self._start:
            return
        self._start = min(position, self._end)
        if self._start - self._base < _BLOCK:
            return
        while self._blocks and self._base + _BLOCK <= self._start:
            self._leave(self._blocks.popleft())
            self._packed = max(0, self._packed - 1)
            self._base += _BLOCK
        if not self._blocks:
            self._base = self._start - self._start % _BLOCK
        self._count()

    def unsend(self) -> None:
        """The connection is gone: what was sent on it may wait for the next one."""
        self.sent = 0
        self._unpacked = None

    def drop_oldest(self) -> bool:
        """As `AudioBudget` asks for it."""
        if len(self._blocks) < 2:
            return False
        self._drop_to(self._base + _BLOCK)
        return True

    def close(self) -> None:
        """Let go of everything."""
        self.forget(self._end)
        self._blocks.clear()
        self._base = self._end - self._end % _BLOCK
        self._packed = 0
        self._lead = self._lead_again = _NO_LEAD
        self._unpacked = None
        self._count()
        if self._budget is not None:
            self._budget.left(self)

    def _drop_to(self, position: int) -> None:
        self.dropped = min(position, self._end)
        self.forget(position)

    def _append_across(self, frame: Frame) -> None:
        """Of a frame that is longer than the ring only the end is kept."""
        samples = len(frame)
        taken = max(0, samples - self.capacity)
        if taken:
            self._end += taken
            self._drop_to(self._end)
        while taken < samples:
            number, offset = divmod(self._end - self._base, _BLOCK)
            if number == len(self._blocks):
                self._blocks.append(_Block(np.empty(_BLOCK, np.float32)))
                self._count()
                number, offset = divmod(self._end - self._base, _BLOCK)
            part = min(_BLOCK - offset, samples - taken)
            newest = self._blocks[number].plain
            assert newest is not None
            newest[offset : offset + part] = frame[taken : taken + part]
            self._end += part
            taken += part

    def _pack(self, close: BlockCodec) -> None:
        """All but the newest whole blocks."""
        while self._packed < len(self._blocks) - 1 - _PATIENT_BLOCKS:
            block, after = self._blocks[self._packed], self._blocks[self._packed + 1].plain
            stop = self._base + (self._packed + 1) * _BLOCK
            codec = LOG_CODEC if stop <= self.sent else close
            assert block.plain is not None
            assert after is not None
            position = stop - _BLOCK
            lead = self._lead if self._lead.position == position else _NO_LEAD
            self._lead = _Lead(stop, _squeeze(block, block.plain, codec, lead.samples, after)[_BLOCK - close.lead :].copy())
            self._packed += 1
            if close is not LOG_CODEC:
                self._pack_again(close)
            self._count()

    def _pack_again(self, close: BlockCodec) -> None:
        """One block that was packed at no cost and has stayed."""
        number = next((number for number in range(self._packed - 1) if self._blocks[number].codec is not close), None)
        if number is None:
            return
        position = self._base + number * _BLOCK
        if number >= len(self._blocks) - _CHEAP_BLOCKS and self.sent >= position + _BLOCK:
            return
        block, after = self._blocks[number], self._blocks[number + 1]
        lead = self._lead_again
        if lead.position != position:
            lead = _Lead(position, _unpack(self._blocks[number - 1])) if number else _NO_LEAD
        samples = _squeeze(block, _unpack(block), close, lead.samples, _unpack(after))
        self._lead_again = _Lead(position + _BLOCK, samples[_BLOCK - close.lead :].copy())

    def _plain(self, block: _Block) -> Frame:
        if block.plain is not None:
            return block.plain
        if self._unpacked is None or self._unpacked[0] is not block:
            self._unpacked = (block, _unpack(block))
        return self._unpacked[1]

    def _leave(self, block: _Block) -> None:
        if self._unpacked is not None and self._unpacked[0] is block:
            self._unpacked = None

    def _held_bytes(self) -> int:
        leads = self._lead.samples.nbytes + self._lead_again.samples.nbytes
        return sum(block.memory_bytes for block in self._blocks) + leads

    def _count(self) -> None:
        if self._budget is not None:
            now_bytes = self._held_bytes()
            more, self._counted_bytes = now_bytes - self._counted_bytes, now_bytes
            self._budget.changed(self, more)


def _unpack(block: _Block) -> Frame:
    return block.codec.unpack(block.packed, _BLOCK)


def _squeeze(block: _Block, plain: Frame, codec: BlockCodec, before: Frame, after: Frame) -> Frame:
    """Pack a block, given samples before and after it; gives its samples."""
    lead = np.zeros(codec.lead, np.float32)
    if len(before) and codec.lead:
        lead[-len(before) :] = before[-codec.lead :]
    audio = np.concatenate((lead, plain, after[: codec.tail]))
    block.packed = codec.pack(audio)
    block.codec, block.plain = codec, None
    return plain

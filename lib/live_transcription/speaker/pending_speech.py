# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Speech that waits for its stream, packed as the audio of streams is (`stt.audio_ring`): 0.6 MB for two minutes. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from live_transcription.audio_store.budget import AudioBudget
from live_transcription.audio_store.codec import BlockCodec
from live_transcription.audio_store.ring import AudioRing
from live_transcription.types import SAMPLE_RATE
from live_transcription.vad.gate import Flush, GateAction, Speech

#: Frames are given back in this length, in samples: 80 ms.
_FRAME = SAMPLE_RATE * 80 // 1000


class HeldSpeech:
    """Speech and flushes in order, of the last `seconds`; beyond that the oldest goes."""

    def __init__(self, seconds: float, *, codec: BlockCodec | None = None, budget: AudioBudget | None = None) -> None:
        self._seconds = seconds
        self._codec = codec
        self._budget = budget
        self._ring: AudioRing | None = None
        # Positions of flushes.
        self._flushes: deque[int] = deque()

    def __len__(self) -> int:
        """Samples and flushes."""
        return (0 if self._ring is None else len(self._ring)) + len(self._flushes)

    @property
    def seconds(self) -> float:
        return 0.0 if self._ring is None else len(self._ring) / SAMPLE_RATE

    @property
    def memory_bytes(self) -> int:
        return 0 if self._ring is None else self._ring.memory_bytes

    def add(self, actions: Sequence[GateAction]) -> int:
        """Take what of it is speech or a flush. How many samples had to go for it."""
        ring = self._ring
        if ring is None:
            ring = self._ring = AudioRing(self._seconds, codec=self._codec, budget=self._budget)
        before = ring.dropped
        for action in actions:
            match action:
                case Speech(frames=frames):
                    for frame in frames:
                        ring.append(frame)
                case Flush() if not self._flushes or self._flushes[-1] < ring.end:
                    self._flushes.append(ring.end)
        while self._flushes and self._flushes[0] < ring.start:
            self._flushes.popleft()
        return max(0, ring.dropped - before)

    def take(self) -> Iterator[GateAction]:
        """Take everything, one frame at a time. If the iterator is dropped, the rest stays buffered."""
        ring = self._ring
        while ring is not None and len(self):
            position = ring.start
            if self._flushes and self._flushes[0] <= position:
                self._flushes.popleft()
                yield Flush()
                continue
            stop = self._flushes[0] if self._flushes else ring.end
            frame = ring.read(position, min(_FRAME, stop - position))
            ring.forget(position + len(frame))
            yield Speech((frame,))
        self.clear()

    def clear(self) -> None:
        """Let go of everything."""
        self._flushes.clear()
        if self._ring is not None:
            self._ring.close()
            self._ring = None

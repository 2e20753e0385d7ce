# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Speech that waits for a stream, compressed like the audio of streams (`audio_store.ring`): 0.6 MB for two minutes. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from live_transcription.audio_store.budget import AudioBudget
from live_transcription.audio_store.codec import BlockCodec
from live_transcription.audio_store.ring import AudioRing
from live_transcription.speaker.stream_clock import StreamClock
from live_transcription.types import SAMPLE_RATE
from live_transcription.vad.gate import Flush, GateAction, Speech

#: Length of the returned frames in samples: 80 ms.
_FRAME = SAMPLE_RATE * 80 // 1000


@dataclass(frozen=True, slots=True)
class TimedAction:
    """An action of the silence gate, and when its last sample was spoken, in seconds of the event loop's clock."""

    action: GateAction
    at: float


class PendingSpeech:
    """Speech and flushes in order. Beyond `seconds` of speech the oldest is dropped."""

    def __init__(self, seconds: float, *, codec: BlockCodec | None = None, budget: AudioBudget | None = None) -> None:
        self._seconds = seconds
        self._codec = codec
        self._budget = budget
        self._ring: AudioRing | None = None
        self._clock = StreamClock()
        # The position in the ring and the time of each flush.
        self._flushes: deque[tuple[int, float]] = deque()

    def __bool__(self) -> bool:
        """Whether there is speech or a flush."""
        return bool(self._flushes) or (self._ring is not None and len(self._ring) > 0)

    @property
    def seconds(self) -> float:
        return 0.0 if self._ring is None else len(self._ring) / SAMPLE_RATE

    def add(self, actions: Sequence[TimedAction]) -> int:
        """Append the speech and flushes among `actions`. Returns the number of samples that were dropped for them."""
        if self._ring is None:
            self._ring = AudioRing(self._seconds, codec=self._codec, budget=self._budget)
        ring, dropped_before = self._ring, self._ring.dropped
        for timed in actions:
            match timed.action:
                case Speech(frames=frames):
                    self._clock.add(sum(map(len, frames)), timed.at)
                    for frame in frames:
                        ring.append(frame)
                case Flush() if not self._flushes or self._flushes[-1][0] < ring.end:
                    self._flushes.append((ring.end, timed.at))
        while self._flushes and self._flushes[0][0] < ring.start:
            self._flushes.popleft()
        return max(0, ring.dropped - dropped_before)

    def take(self) -> Iterator[TimedAction]:
        """Take everything, one frame at a time. If the iterator is dropped, the rest stays."""
        ring = self._ring
        while ring is not None and self:
            position = ring.start
            if self._flushes and self._flushes[0][0] <= position:
                yield TimedAction(Flush(), self._flushes.popleft()[1])
                continue
            stop = self._flushes[0][0] if self._flushes else ring.end
            frame = ring.read(position, min(_FRAME, stop - position))
            ring.forget(position + len(frame))
            ended_at = self._clock.time(position / SAMPLE_RATE) + len(frame) / SAMPLE_RATE
            yield TimedAction(Speech((frame,)), ended_at)
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        self._flushes.clear()
        if self._ring is not None:
            self._ring.close()
            self._ring = None
            self._clock = StreamClock()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The committed words of one speaker that an engine may repeat. Pure.

An engine that rewrites its hypothesis repeats them in each one. After a stream is replaced by another connection or engine, the
new stream repeats them once. Nothing before a closed point (a pause, a flush, the end of a hypothesis) is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from live_transcription.captions.words import LONGEST, align, bare

#: Seconds by which the times of one word may differ between two recognitions.
JITTER_S = 0.24
_SAME_S = 0.04


class Said:
    """Bare words in order. `certain`: the next hypothesis begins with them; otherwise it only may."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.certain = True
        #: How many of them belong to utterances that have ended.
        self.ended = 0
        self._until_s: float | None = None
        # During a repetition: the words repeated so far, or only the last one if words have times.
        self._again: list[str] | None = None

    def add(self, word: str, start_s: float | None) -> None:
        """Add a committed word of a word stream. `start_s`: its time in the stream in seconds, if known."""
        self.ended = max(0, self.ended - max(0, len(self.words) + 1 - LONGEST))
        self.words = [*self.words[1 - LONGEST :], bare(word)]
        self.certain, self._until_s = True, start_s

    def replace(self, words: Sequence[str]) -> None:
        """Replace the committed words by their spelling in the newest hypothesis."""
        self.ended = align(self.words[: self.ended], words, self.ended)[0]
        self.words, self.certain, self._until_s, self._again = list(words), True, None, None

    def drop(self, count: int) -> None:
        """Forget the first `count` words. The others may be repeated."""
        self.ended = max(0, self.ended - count)
        self.words, self.certain, self._until_s, self._again = self.words[count:], False, None, None

    def close(self) -> None:
        """Forget all words: a closed point."""
        self.drop(len(self.words))

    def begin_again(self) -> None:
        """The stream was replaced: expect everything since the last closed point once more."""
        self._again = []

    def go_on(self) -> None:
        """Expect no repetition any more: the stream has ended without one."""
        self._again = None

    def is_new(self, word: str, start_s: float | None) -> bool:
        """Whether a word of a word stream is new, not a repetition: by its time if words have one, else by alignment."""
        if self._again is None:
            return True
        if start_s is not None and self._until_s is not None:
            late_s = start_s - self._until_s
            last = not self._again and abs(late_s) <= JITTER_S and bare(word) == self.words[-1]
            new = late_s > _SAME_S and not last
            if last and late_s >= -_SAME_S:
                self._again.append(bare(word))
        else:
            self._again.append(bare(word))
            new = align(self.words, self._again, len(self.words))[0] < len(self._again)
        if new:
            self._again = None
        return new

    def count(self, text: Sequence[str]) -> int:
        """How many words at the start of a hypothesis were committed before."""
        return align(self.words, text, len(self.words) if self.certain else 0)[0]

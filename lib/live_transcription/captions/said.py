# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Recognises committed words that an engine sends again, so that they are not shown twice. Pure.

An engine that revises its hypothesis repeats the committed words in each hypothesis. After another connection or engine
replaces a stream, the new stream repeats them once. Words before a pause, a flush or a final text are never repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from live_transcription.captions.words import LONGEST, align, bare

#: Maximum difference in seconds between the times of the same word in two recognitions.
JITTER_S = 0.24
#: A word that starts at most so many seconds after the last committed one is the same word.
_SAME_S = 0.04


class Said:
    """The committed words in order, as bare words. If `certain` is False, the next hypothesis need not begin with them."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.certain = True
        #: Number of words that belong to utterances that have ended.
        self.ended = 0
        self._until_s: float | None = None
        # While the stream repeats words: those repeated so far, or only the last one if words have times.
        self._again: list[str] | None = None

    def add(self, word: str, start_s: float | None) -> None:
        """Add a committed word of a word stream. `start_s` is its time in the stream in seconds, if known."""
        self.ended = max(0, self.ended - max(0, len(self.words) + 1 - LONGEST))
        self.words = [*self.words[1 - LONGEST :], bare(word)]
        self.certain, self._until_s = True, start_s

    def replace(self, words: Sequence[str]) -> None:
        """Replace the committed words by their spelling in the newest hypothesis."""
        self.ended = align(self.words[: self.ended], words, self.ended)[0]
        self.words, self.certain, self._until_s, self._again = list(words), True, None, None

    def drop(self, count: int) -> None:
        """Forget the first `count` words. The stream may repeat the others."""
        self.ended = max(0, self.ended - count)
        self.words, self.certain, self._until_s, self._again = self.words[count:], False, None, None

    def close(self) -> None:
        """Forget all words: the stream will not repeat them."""
        self.drop(len(self.words))

    def expect_repetition(self) -> None:
        """Expect that a new stream repeats all words."""
        self._again = []

    def expect_no_repetition(self) -> None:
        """Expect no repetition any more."""
        self._again = None

    def is_new(self, word: str, start_s: float | None) -> bool:
        """Whether a word of a word stream is new. Words are compared by time if they have times, otherwise by alignment."""
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
        """The number of words at the start of a hypothesis that are committed already."""
        return align(self.words, text, len(self.words) if self.certain else 0)[0]

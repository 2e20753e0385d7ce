# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The commit policy for engines that rewrite their hypothesis (Whisper): words on which two hypotheses agree.

Words on which two consecutive hypotheses agree are committed, except the last one, whose case and punctuation depend on what
follows. No word stays in doubt for longer than `CaptionPolicy.longest_doubt_s`. No commit ends within a number or an elision,
which the next hypothesis may spell differently.
"""

from __future__ import annotations

from live_transcription.captions.policy import CaptionPolicy, Committed
from live_transcription.captions.said import Said
from live_transcription.captions.words import align, bare, join, may_end, split, squeeze
from live_transcription.transcript import Hypothesis


class HypothesisStream:
    """One speaker's open hypothesis. Times are seconds of the caller's monotonic clock."""

    def __init__(self, policy: CaptionPolicy, said: Said) -> None:
        self._policy = policy
        self._said = said
        self._text = ""
        # Words after the committed ones in the last hypothesis, and when each position first had a word.
        self._doubtful: list[str] = []
        self._since: list[float] = []
        self._overdue_at: float | None = None
        # Bare words of earlier utterances that this one repeats at its start, and its own words as committed.
        self._carried: list[str] = []
        self._committed = ""
        #: Number of committed words that differ in the engine's final text, so far.
        self.disagreed = 0

    @property
    def is_open(self) -> bool:
        return bool(self._text)

    def update(self, hypothesis: Hypothesis, now: float) -> list[Committed]:
        """Take a hypothesis: the whole text of the open utterance."""
        if hypothesis.final:
            return self._finish(hypothesis.text)
        words = split(hypothesis.text)
        if not words:
            return []
        self._text = squeeze(hypothesis.text)
        before, self._doubtful = self._doubtful, words[self._count(words) :]
        self._since = [*self._since[: len(self._doubtful)], *[now] * (len(self._doubtful) - len(self._since))]
        agreed = 0
        for old, new in zip(before, self._doubtful, strict=False):
            if bare(old) != bare(new):
                break
            agreed += 1
        return self._commit(max(agreed - 1, self._overdue(now)), now)

    def expire(self, now: float) -> list[Committed]:
        """Commit words that have been in doubt for too long."""
        return self._commit(self._overdue(now), now) if self._overdue_at is not None and now >= self._overdue_at else []

    def next_deadline(self) -> float | None:
        return self._overdue_at

    def close(self) -> list[Committed]:
        """Commit the rest of the last hypothesis: no better one will come."""
        return self._finish(self._text) if self._text else []

    def drop(self) -> str:
        """Drop the words in doubt, since another engine repeats them. Returns the committed words of the open utterance."""
        committed, self._committed = self._committed, ""
        self._text, self._doubtful, self._since, self._overdue_at = "", [], [], None
        return committed

    def _count(self, words: list[str]) -> int:
        return self._said.count([bare(word) for word in words])

    def _overdue(self, now: float) -> int:
        limit = now - self._policy.longest_doubt_s + 1e-6
        return sum(since <= limit for since in self._since)

    def _commit(self, count: int, now: float) -> list[Committed]:
        """Commit the first `count` words in doubt, or fewer where the text may not be cut there."""
        following = [*self._doubtful, None]
        while count and not may_end(self._doubtful[count - 1], following[count]):
            count -= 1
        committed, self._doubtful = self._doubtful[:count], self._doubtful[count:]
        self._since = self._since[count:]
        limit = self._since[0] + self._policy.longest_doubt_s if self._since else None
        # Overdue words that may not be cut here wait for the next hypothesis.
        self._overdue_at = limit if limit is not None and limit > now else None
        if not committed:
            return []
        everything = split(self._text)
        self._said.replace([bare(word) for word in everything[: len(everything) - len(self._doubtful)]])
        self._committed = join(self._committed, "".join(committed).strip())
        return [Committed("".join(committed).strip())]

    def _finish(self, text: str) -> list[Committed]:
        words = split(text)
        bares = [bare(word) for word in words]
        count = self._count(words)
        # Words committed beyond the end of this utterance belong to the next one.
        said = self._said.words
        covered = align(bares, said, len(said))[0] if count == len(words) else len(said)
        committed = [*self._carried, *map(bare, split(self._committed))]
        self.disagreed += max(0, align(committed, bares, len(committed))[1] - len(said[covered:]))
        # An engine that takes over repeats words of utterances that have ended: leave them out.
        utterance = "".join(words[align(said[: self._said.ended], bares, self._said.ended)[0] :]).strip()
        known = self.is_open or bool(words)
        self.drop()
        self._carried = said[covered:]
        self._said.drop(covered)
        return [Committed("".join(words[count:]).strip(), utterance)] if known else []

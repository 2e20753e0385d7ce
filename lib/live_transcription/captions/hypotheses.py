# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The commit policy for engines that revise their hypothesis (Whisper).

A word is committed when two consecutive hypotheses agree on it and on all words before it, and both have a word after it. Until
then its case and punctuation may change. Any word is committed at the latest `CaptionPolicy.longest_doubt_s` after it first
appeared. No commit ends within a number or an elision, since the next hypothesis may spell these differently.
"""

from __future__ import annotations

from live_transcription.captions.policy import CaptionPolicy, Committed
from live_transcription.captions.said import Said
from live_transcription.captions.words import align, bare, join, may_end, split, squeeze
from live_transcription.transcript import Hypothesis


class HypothesisStream:
    """Commits the words of one speaker's hypotheses. `now` is in seconds of any monotonic clock."""

    def __init__(self, policy: CaptionPolicy, said: Said) -> None:
        self._policy = policy
        self._said = said
        self._text = ""
        # The words of the last hypothesis that are not committed, and the time at which each position first had a word.
        self._uncommitted: list[str] = []
        self._since: list[float] = []
        self._overdue_at: float | None = None
        # Bare words that earlier utterances committed and this one repeats at its start, and its own committed words.
        self._carried: list[str] = []
        self._committed = ""
        #: Number of committed words so far that differ in the engine's final text.
        self.disagreed = 0

    def update(self, hypothesis: Hypothesis, now: float) -> list[Committed]:
        """Process a hypothesis, which is the whole text of the open utterance."""
        if hypothesis.final:
            return self._finish(hypothesis.text)
        words = split(hypothesis.text)
        if not words:
            return []
        self._text = squeeze(hypothesis.text)
        before, self._uncommitted = self._uncommitted, words[self._said.count([bare(word) for word in words]) :]
        self._since = [*self._since[: len(self._uncommitted)], *[now] * (len(self._uncommitted) - len(self._since))]
        # The case and punctuation of a word depend on the word after it.
        agreed, followed = 0, min(len(before), len(self._uncommitted)) - 1
        while agreed < followed and bare(before[agreed]) == bare(self._uncommitted[agreed]):
            agreed += 1
        return self._commit(max(agreed, self._overdue(now)), now)

    def expire(self, now: float) -> list[Committed]:
        """Commit words that have waited for `CaptionPolicy.longest_doubt_s`."""
        return self._commit(self._overdue(now), now) if self._overdue_at is not None and now >= self._overdue_at else []

    def next_deadline(self) -> float | None:
        """The time at which to call `expire`; None if no call is needed."""
        return self._overdue_at

    def close(self) -> list[Committed]:
        """Commit the rest of the last hypothesis, since no other one will follow."""
        return self._finish(self._text) if self._text else []

    def drop(self) -> str:
        """Drop the words that are not committed, since another engine repeats them.

        Returns the committed words of the open utterance.
        """
        committed, self._committed = self._committed, ""
        self._text, self._uncommitted, self._since, self._overdue_at = "", [], [], None
        return committed

    def _overdue(self, now: float) -> int:
        limit = now - self._policy.longest_doubt_s + 1e-6
        return sum(since <= limit for since in self._since)

    def _commit(self, count: int, now: float) -> list[Committed]:
        """Commit the next `count` words, or fewer if the text may not be cut there."""
        following = [*self._uncommitted, None]
        while count and not may_end(self._uncommitted[count - 1], following[count]):
            count -= 1
        committed, self._uncommitted = self._uncommitted[:count], self._uncommitted[count:]
        self._since = self._since[count:]
        limit = self._since[0] + self._policy.longest_doubt_s if self._since else None
        # Overdue words after which the text may not be cut wait for the next hypothesis.
        self._overdue_at = limit if limit is not None and limit > now else None
        if not committed:
            return []
        everything = split(self._text)
        self._said.replace([bare(word) for word in everything[: len(everything) - len(self._uncommitted)]])
        self._committed = join(self._committed, "".join(committed).strip())
        return [Committed("".join(committed).strip())]

    def _finish(self, text: str) -> list[Committed]:
        words = split(text)
        bares = [bare(word) for word in words]
        count, said = self._said.count(bares), self._said.words
        # Words committed beyond the end of this utterance belong to the next one. If the whole text fits the beginning of the
        # committed words better than all of them fit the beginning of the text, there are such words.
        covered, difference = align(bares, said, len(said))
        if difference < align(said, bares, len(said))[1]:
            count = len(words)
        elif count < len(words):
            covered = len(said)
        committed = [*self._carried, *map(bare, split(self._committed))]
        self.disagreed += max(0, align(committed, bares, len(committed))[1] - len(said[covered:]))
        # An engine that takes over repeats words of utterances that have ended. Leave these out.
        utterance = "".join(words[align(said[: self._said.ended], bares, self._said.ended)[0] :]).strip()
        known = bool(self._text or words)
        self.drop()
        self._carried = said[covered:]
        self._said.drop(covered)
        return [Committed("".join(words[count:]).strip(), utterance)] if known else []

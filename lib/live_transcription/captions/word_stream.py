# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The commit policy for word streams (Kyutai): a word is final when it arrives.

A token that may be half a word is buffered until the next word begins, the server detects a pause, or a flush is complete. If
punctuation comes in tokens of its own, each word is buffered briefly so that its punctuation is committed with it.
"""

from __future__ import annotations

from live_transcription.captions.joiner import Joiner
from live_transcription.captions.policy import CaptionPolicy, Committed
from live_transcription.captions.said import Said
from live_transcription.captions.words import clings, ends_sentence, has_word, join
from live_transcription.transcript import Token


class WordStream:
    """Commits the words of one speaker's word stream. `now` is in seconds of any monotonic clock."""

    def __init__(self, policy: CaptionPolicy, said: Said) -> None:
        self._policy = policy
        self._said = said
        self._joiner = Joiner()
        self._buffered: list[Token] = []
        # Tokens that were buffered when the stream broke. They are committed unless the next connection repeats them.
        self._broken_off: list[Token] = []
        self._utterance = ""
        self._last_at = self._buffered_at = 0.0

    def add(self, token: Token, now: float) -> list[Committed]:
        """Process a token, and return the words that it commits."""
        self._joiner.observe(token)
        self._broken_off = []
        complete = has_word(self._joiner.join(self._buffered)) and self._joiner.starts_word(token)
        committed = self._commit(now) if complete else []
        # Drop a punctuation mark whose word is committed already, since it would stand alone.
        if self._buffered or (token.text.strip() and not clings(token.text)):
            self._buffered.append(token)
        too_long = (
            len(self._buffered) > self._policy.max_chars or len(self._joiner.join(self._buffered)) > 2 * self._policy.max_chars
        )
        self._buffered_at = now
        if (self._joiner.words_are_whole and not self._joiner.marks_come_alone) or too_long:
            committed += self._commit(now)
        if too_long:
            self._buffered = []
        return committed

    def begin_again(self) -> None:
        """Another stream takes over, perhaps from a server that uses the other dialect."""
        if text := self._joiner.join(self._buffered):
            self._broken_off = [Token(text, start_s=self._buffered[0].start_s)]
        self._buffered = []
        self._joiner = Joiner()

    def leave_to_hypotheses(self) -> None:
        """Drop the open utterance. An engine of the other family repeats it and ends it."""
        self._buffered, self._broken_off, self._utterance = [], [], ""

    def take_over(self, committed: str, now: float) -> None:
        """Continue an utterance of which another engine sent the words `committed`."""
        self._utterance, self._last_at = join(self._utterance, committed), now

    def close(self, now: float) -> list[Committed]:
        """Commit the buffered word and end the utterance, at a pause, a flush or the end of the stream."""
        if self._broken_off:
            self._said.expect_no_repetition()
            self._buffered, self._broken_off = self._broken_off, []
        return [*self._commit(now), *self._end()]

    def expire(self, now: float) -> list[Committed]:
        """Commit a word whose punctuation has not arrived in time, or end an utterance that had no word for `idle_s`."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        return self._commit(now) if has_word(self._joiner.join(self._buffered)) else self._end()

    def next_deadline(self) -> float | None:
        """The time at which to call `expire`; None if no call is needed."""
        if has_word(self._joiner.join(self._buffered)):
            return self._buffered_at + self._policy.mark_wait_s if self._joiner.words_are_whole else None
        return self._last_at + self._policy.idle_s if self._utterance else None

    def _commit(self, now: float) -> list[Committed]:
        """Commit the buffered word, unless it is a repetition."""
        text, start_s = self._joiner.join(self._buffered), self._buffered[0].start_s if self._buffered else None
        if not has_word(text):
            return []
        self._buffered = []
        self._last_at = now
        if not self._said.is_new(text, start_s):
            return []
        ended = self._end() if len(join(self._utterance, text)) > self._policy.max_chars else []
        self._said.add(text, start_s)
        self._utterance = join(self._utterance, text)
        sentence = len(self._utterance) >= self._policy.sentence_chars and ends_sentence(self._utterance)
        # A digit may follow a digit and a full stop ("3." "14").
        if sentence and not self._utterance[:-1][-1:].isdigit():
            return [*ended, Committed(text, self._take_utterance())]
        return [*ended, Committed(text)]

    def _end(self) -> list[Committed]:
        return [Committed("", self._take_utterance())] if self._utterance else []

    def _take_utterance(self) -> str:
        utterance, self._utterance = self._utterance, ""
        self._said.ended = len(self._said.words)
        return utterance

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The commit policy for word streams (Kyutai): a word is final when it arrives.

A token that may be half a word is buffered until the next word begins, the server detects a pause, or a flush is done. If
punctuation comes in tokens of its own, a word is buffered briefly so that its punctuation is committed with it.
"""

from __future__ import annotations

from live_transcription.captions.joiner import Joiner
from live_transcription.captions.policy import CaptionPolicy, Committed
from live_transcription.captions.said import Said
from live_transcription.captions.words import clings, ends_sentence, has_word, join
from live_transcription.transcript import Token


class WordStream:
    """One speaker's words. Times are seconds of the caller's monotonic clock."""

    def __init__(self, policy: CaptionPolicy, said: Said) -> None:
        self._policy = policy
        self._said = said
        self._joiner = Joiner()
        self._held: list[Token] = []
        # Buffered when the stream broke: repeated by the next connection, or committed as they are.
        self._broken_off: list[Token] = []
        self._utterance = ""
        self._last_at = self._held_at = 0.0

    def add(self, token: Token, now: float) -> list[Committed]:
        """Take a token."""
        self._joiner.observe(token)
        self._broken_off = []
        complete = has_word(self._joiner.join(self._held)) and self._joiner.starts_word(token)
        committed = self._commit(now) if complete else []
        # The word of this mark is committed already: the mark would stand alone.
        if self._held or (token.text.strip() and not clings(token.text)):
            self._held.append(token)
        too_long = len(self._held) > self._policy.max_chars or len(self._joiner.join(self._held)) > 2 * self._policy.max_chars
        self._held_at = now
        if (self._joiner.words_are_whole and not self._joiner.marks_come_alone) or too_long:
            committed += self._commit(now)
        if too_long:
            self._held = []
        return committed

    def begin_again(self) -> None:
        """The stream was replaced, perhaps by a server that uses the other dialect."""
        if text := self._joiner.join(self._held):
            self._broken_off = [Token(text, start_s=self._held[0].start_s)]
        self._held = []
        self._joiner = Joiner()

    def leave_to_hypotheses(self) -> None:
        """Drop the open utterance, which an engine of the other family repeats and ends."""
        self._held, self._broken_off, self._utterance = [], [], ""

    def take_over(self, committed: str, now: float) -> None:
        """Continue an utterance whose first words another engine gave."""
        self._utterance, self._last_at = join(self._utterance, committed), now

    def close(self, now: float) -> list[Committed]:
        """A pause, a flush or the end of the stream: commit the buffered word and end the utterance."""
        if self._broken_off:
            self._said.go_on()
            self._held, self._broken_off = self._broken_off, []
        return [*self._commit(now), *self._end()]

    def expire(self, now: float) -> list[Committed]:
        """Commit a word whose punctuation has not come; end an utterance without words for `idle_s`."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        return self._commit(now) if has_word(self._joiner.join(self._held)) else self._end()

    def next_deadline(self) -> float | None:
        if has_word(self._joiner.join(self._held)):
            return self._held_at + self._policy.mark_wait_s if self._joiner.words_are_whole else None
        return self._last_at + self._policy.idle_s if self._utterance else None

    def _commit(self, now: float) -> list[Committed]:
        """Commit the buffered word, unless it was committed before a break."""
        text, start_s = self._joiner.join(self._held), self._held[0].start_s if self._held else None
        if not has_word(text):
            return []
        self._held = []
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

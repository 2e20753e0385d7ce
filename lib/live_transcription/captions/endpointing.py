# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Utterances out of a word stream: where one ends and the next begins.

An utterance ends at the first of: the server's pause; local end of speech, flush done and a short quiet; a sentence end
once it is long enough; its greatest length, at a word boundary; its greatest age; a long quiet; `close()` from outside.
"""

from __future__ import annotations

from live_transcription.captions.joiner import Joiner, TokenText, clings
from live_transcription.captions.policy import CaptionPolicy, UtteranceText
from live_transcription.captions.words import ends_in_digit_point, ends_sentence, has_word, last_words, remainder


class WordUtterances:
    """The open utterance of one speaker's word stream. Times are seconds of the caller's monotonic clock."""

    def __init__(self, policy: CaptionPolicy) -> None:
        self._policy = policy
        self._joiner = Joiner()
        self._tokens: list[TokenText] = []
        self._text = ""
        self._shown = ""
        self._opened_at = 0.0
        self._last_at = 0.0
        self._speaking: bool | None = None
        self._ended_at: float | None = None
        self._flushed_at: float | None = None
        # Text of before a restart, until the replay has caught up with it.
        self._before_restart = ""
        # What was made final of that which a restart would repeat, and what of it the replay has yet to pass.
        self._stood = ""
        self._repeated = ""
        # How many of the open utterance's tokens no restart repeats.
        self._settled = 0

    @property
    def is_open(self) -> bool:
        return bool(self._tokens or self._before_restart)

    def add(self, text: str, starts_word: bool | None, now: float) -> list[UtteranceText]:
        """A token came."""
        token = TokenText(text, starts_word)
        self._joiner.observe(token)
        if not text.strip() and not (self._joiner.pieces and self._tokens):
            return []
        if not self._tokens and not self._before_restart and starts_word is not True and clings(text):
            return []
        if self._ended_at is not None and now - self._ended_at > self._policy.flush_timeout_s:
            self._forget_end()
        results: list[UtteranceText] = []
        if self._tokens and self._joiner.starts_word(token) and self._must_end_before(text, now):
            results += self.close()
        if not self._tokens:
            self._opened_at = now
        self._tokens.append(token)
        self._last_at = now
        self._text = self._beyond_repeated()
        if len(self._text) > 2 * self._policy.max_chars:
            return results + self.close()
        if self._joiner.words_are_whole(token) and self._is_sentence() and not ends_in_digit_point(self._text):
            return results + self.close()
        return results + self._partial()

    def start_of_speech(self) -> None:
        self._speaking = True
        self._forget_end()

    def end_of_speech(self, now: float) -> None:
        self._speaking = False
        self._ended_at = now
        self._flushed_at = None

    def flushed(self, now: float) -> None:
        """Words of all audio sent before the flush have come; no end of utterance when speech has begun again since."""
        self._settle()
        if self._speaking is True:
            return
        if self._ended_at is None:
            self._ended_at = now
        self._flushed_at = now

    def paused(self) -> list[UtteranceText]:
        """The server heard a pause: what came before it is over, and is never repeated."""
        results = self.close() if self.is_open else []
        self._stood = self._repeated = ""
        return results

    def restarted(self) -> list[UtteranceText]:
        """The stream starts anew and repeats all that it told since its last pause or flush."""
        results: list[UtteranceText] = []
        if self._settled:
            del self._tokens[self._settled :]
            self._text = self._beyond_repeated()
            results = self.close()
            self._stood = ""
        elif self._tokens and _count(self._text) >= _count(self._before_restart):
            self._before_restart = self._text
        self._tokens = []
        self._text = ""
        self._joiner = Joiner()
        self._repeated = self._stood
        self._forget_end()
        return results

    def expect(self, shown: str) -> None:
        """Another engine repeats what was shown as a partial; until it has caught up, nothing shorter is shown."""
        self._before_restart = self._shown = shown

    def hand_over(self) -> tuple[str, str]:
        """Another engine repeats from here on. Returns what it repeats that is final already, and the partial to replace."""
        stood, self._stood, self._repeated = self._stood, "", ""
        shown = self._shown
        self._tokens = []
        self._settled = 0
        self._text = self._shown = self._before_restart = ""
        return stood, shown

    @property
    def restarting(self) -> bool:
        """A replay is under way, or is about to begin."""
        return bool(self._before_restart or self._repeated)

    def expire(self, now: float) -> list[UtteranceText]:
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        return self.close(replayed=self._flushed_at is not None)

    def next_deadline(self) -> float | None:
        policy = self._policy
        if not self._tokens:
            if self._before_restart and self._flushed_at is not None:
                return self._flushed_at + policy.quiet_s
            return None
        deadlines = [self._last_at + policy.idle_s]
        if self._is_sentence():
            deadlines.append(self._last_at + policy.quiet_s)
        if self._joiner.words_are_whole(self._tokens[-1]):
            deadlines.append(self._opened_at + policy.max_age_s)
        if self._flushed_at is not None:
            deadlines.append(max(self._flushed_at, self._last_at) + policy.quiet_s)
        elif self._ended_at is not None:
            deadlines.append(max(self._ended_at + policy.flush_timeout_s, self._last_at + policy.quiet_s))
        return min(deadlines)

    def close(self, *, replayed: bool = True) -> list[UtteranceText]:
        """End the open utterance. `replayed=False`: the replay after a restart may be unfinished, what was shown counts."""
        text = self._text
        if not has_word(text) or (not replayed and _count(text) < _count(self._before_restart)):
            text = self._before_restart or text
        shown, self._shown = self._shown, ""
        if not self._text:
            self._repeated = remainder(self._joiner.join(self._tokens), self._repeated)
        else:
            self._repeated = ""
        said = self._joiner.join(self._tokens[self._settled :]) if self._settled else text
        self._tokens = []
        self._settled = 0
        self._text = self._before_restart = ""
        if has_word(text):
            self._stood = last_words(f"{self._stood} {said}")
            return [UtteranceText(text, final=True)]
        return [UtteranceText("", final=True)] if shown else []

    def _settle(self) -> None:
        if self._repeated and not self._text:
            # All that was to be repeated has been, and nothing else.
            self._tokens = []
            self._repeated = ""
        self._settled = len(self._tokens)
        self._stood = ""

    def _beyond_repeated(self) -> str:
        joined = self._joiner.join(self._tokens)
        return remainder(self._repeated, joined) if self._repeated else joined

    def _must_end_before(self, word: str, now: float) -> bool:
        if self._is_sentence() and not (ends_in_digit_point(self._text) and word.lstrip()[:1].isdigit()):
            return True
        too_long = len(self._text) + 1 + len(word.strip()) > self._policy.max_chars
        return too_long or now - self._opened_at >= self._policy.max_age_s

    def _is_sentence(self) -> bool:
        return len(self._text) >= self._policy.sentence_chars and ends_sentence(self._text)

    def _partial(self) -> list[UtteranceText]:
        if self._before_restart:
            if _count(self._text) < _count(self._before_restart):
                return []
            self._before_restart = ""
        if not has_word(self._text) or self._text == self._shown:
            return []
        self._shown = self._text
        return [UtteranceText(self._text, final=False)]

    def _forget_end(self) -> None:
        self._ended_at = self._flushed_at = None


def _count(text: str) -> int:
    return len(text.split())

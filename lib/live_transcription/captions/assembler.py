# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Turns the speech-to-text events of one speaker into committed words and utterances."""

from __future__ import annotations

from live_transcription.captions.hypotheses import HypothesisStream
from live_transcription.captions.policy import CaptionPolicy, Committed
from live_transcription.captions.said import Said
from live_transcription.captions.word_stream import WordStream
from live_transcription.transcript import Flushed, Hypothesis, Pause, Restarted, SttEvent, Token


class CaptionAssembler:
    """Takes the events of both families of engines (see `stt.base`), and commits each word once.

    All texts are single-spaced and contain at least one letter or digit. `now` is in seconds of any monotonic clock. The
    caller must call `tick(now)` at `next_deadline()`.
    """

    def __init__(self, policy: CaptionPolicy | None = None) -> None:
        policy = policy or CaptionPolicy()
        self._said = Said()
        self._words = WordStream(policy, self._said)
        self._hypotheses = HypothesisStream(policy, self._said)
        self._begins_again = False

    @property
    def disagreed(self) -> int:
        """Number of committed words that differ in a later hypothesis, so far."""
        return self._hypotheses.disagreed

    def feed(self, event: SttEvent, now: float) -> list[Committed]:
        """Process the next event of the stream, and return the words that it commits."""
        committed = self.tick(now)
        match event:
            case Token():
                if self._begins_again and (before := self._hypotheses.drop()):
                    self._words.take_over(before, now)
                committed += self._hypotheses.close()
                committed += self._words.add(event, now)
            case Hypothesis():
                if self._begins_again:
                    self._words.leave_to_hypotheses()
                committed += self._words.close(now)
                committed += self._hypotheses.update(event, now)
            case Pause() | Flushed():
                committed += self._words.close(now)
                self._said.close()
            case Restarted():
                self._words.begin_again()
                self._said.expect_repetition()
        self._begins_again = isinstance(event, Restarted)
        return committed

    def finalise(self, now: float) -> list[Committed]:
        """Commit the rest at once.

        Call this when the speaker leaves, the language changes, or the stream fails permanently.
        """
        committed = self._words.close(now) + self._hypotheses.close()
        self._said.close()
        return committed

    def tick(self, now: float) -> list[Committed]:
        """Commit the words and end the utterances that are due."""
        return self._words.expire(now) + self._hypotheses.expire(now)

    def next_deadline(self) -> float | None:
        """The time at which to call `tick`; None if no call is needed."""
        deadlines = (self._words.next_deadline(), self._hypotheses.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

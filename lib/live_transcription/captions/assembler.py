# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Speech-to-text events to utterances: cumulative partials and exactly one final for each."""

from __future__ import annotations

from live_transcription.captions.endpointing import WordUtterances
from live_transcription.captions.hypotheses import HypothesisUtterances
from live_transcription.captions.policy import CaptionPolicy, UtteranceText
from live_transcription.stt_events import Flushed, Hypothesis, Pause, Restarted, SttEvent, Token


class CaptionAssembler:
    """One speaker's utterances, of either family of engines (see `stt.base`).

    Pure: `now` is seconds of any monotonic clock; whoever drives it calls `tick(now)` at `next_deadline()`. Each text that
    comes out replaces the speaker's last partial; a final closes the utterance; an empty final takes it back and is never
    sent. Texts are single-spaced, and hold at least one letter or digit.
    """

    def __init__(self, policy: CaptionPolicy | None = None) -> None:
        self._words = WordUtterances(policy or CaptionPolicy())
        self._hypotheses = HypothesisUtterances()
        self._replayed = False

    @property
    def is_open(self) -> bool:
        """Whether an utterance has begun that is not yet final."""
        return self._words.is_open or self._hypotheses.is_open

    def feed(self, event: SttEvent, now: float) -> list[UtteranceText]:
        """Take the next event of the stream."""
        results = self._words.expire(now)
        match event:
            case Token(text=text, starts_word=starts_word):
                results += self._end_hypotheses()
                results += self._words.add(text, starts_word, now)
            case Hypothesis(text=text, final=final):
                results += self._end_words()
                results += self._hypotheses.replace(text, final)
                self._replayed = self._replayed and not final
            case Pause():
                results += self._words.paused()
                self._replayed = False
            case Flushed():
                self._words.flushed(now)
                self._replayed = False
            case Restarted():
                results += self._words.restarted()
                self._replayed = True
        return results

    def _end_hypotheses(self) -> list[UtteranceText]:
        """Tokens come: of another engine that repeats, or out of turn."""
        if not self._hypotheses.is_open:
            return []
        if self._replayed:
            self._words.expect(self._hypotheses.hand_over())
            return []
        return self._hypotheses.close()

    def _end_words(self) -> list[UtteranceText]:
        """A hypothesis comes: of another engine that repeats, or out of turn."""
        if self._replayed and self._words.restarting:
            self._hypotheses.take_over(*self._words.hand_over())
        return self._words.close(replayed=False) if self._words.is_open else []

    def start_of_speech(self, now: float) -> list[UtteranceText]:
        """Local voice activity has begun: words that come from now on belong to it, not to what ended before."""
        results = self._words.expire(now)
        self._words.start_of_speech()
        return results

    def end_of_speech(self, now: float) -> list[UtteranceText]:
        """Local voice activity has ended and a flush was asked for; words of it may still be on their way."""
        results = self._words.expire(now)
        self._words.end_of_speech(now)
        return results

    def finalise(self, now: float, *, more: bool = False) -> list[UtteranceText]:
        """Close what is open: mute, leave, language change, stop, a lost stream. At most one final.

        `more=True` for a stream that goes on and has yet to send its own final of this utterance (engines that send
        hypotheses): what is closed now is then not said again.
        """
        del now
        words = self._words.close(replayed=False) if self._words.is_open else []
        return words + self._hypotheses.close(more=more)

    def tick(self, now: float) -> list[UtteranceText]:
        """Close what has been quiet or open for too long."""
        return self._words.expire(now)

    def next_deadline(self) -> float | None:
        """When `tick` is to be called next; None while nothing waits for time."""
        return self._words.next_deadline()

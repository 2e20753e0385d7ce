# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Judges one connection by what comes back: words against speech, and transcribed audio against time. Pure.

| observation | error |
|---|---|
| speech that the local voice detector is sure of, and no word | SttDeaf |
| the same word again and again, and no other | SttRepeating |
| a growing or constant lag | SttSlow |

The engine's protocol makes no difference. `now` is in seconds of a monotonic clock, positions are samples of the connection.
What follows from an error is decided in `stt.fallback.attempts`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from live_transcription.errors import SttDeaf, SttRepeating, SttSlow, SttUnhealthy
from live_transcription.types import SAMPLE_RATE

#: Seconds at the end of each speech that may be silence: the silence gate's hangover.
UNSURE_S = 0.6
#: Number of equal words in a row from which on they may be a loop. Nobody says one word so often for as long as `Patience`
#: says: 12 times "no" take 4 s.
REPETITIONS = 12
#: Seconds of audio that may be on its way without counting as lag: the model's delay, the network, and a busy machine.
SLACK_S = 1.0
#: A server that lags is slow if it transcribed fewer seconds of audio per second during the last `RATE_WINDOW_S`. A faster one
#: is catching up, for example after a cold start.
RATE_NEEDED = 1.1
RATE_WINDOW_S = 4.0
#: Seconds after which audio counts as transcribed if the server does not report it and works in real time.
UNREPORTED_S = 2.0
#: Seconds of audio between two marks, and their number (two minutes).
_MARK_S = 0.25
_MARKS = 480


@dataclass(frozen=True, slots=True)
class Patience:
    """`speech_s`: seconds of speech without a word, or of audio with a repeated one. `lag_s`: seconds of lag."""

    speech_s: float = 10.0
    lag_s: float = 10.0


#: For a connection of a backend that has failed.
SUSPECT = Patience(4.0, 5.0)
#: For a connection that replaces a slow one, or one that sent no words or the same one.
SUSPECTED_SLOW = Patience(lag_s=SUSPECT.lag_s)
SUSPECTED_DEAF = Patience(speech_s=SUSPECT.speech_s)


class _Mark(NamedTuple):
    """`speech`: samples of speech before `position`, which was sent `at`."""

    position: int
    speech: int
    at: float


class StreamHealth:
    """One connection.

    `silent_s`: seconds of speech without a word in earlier connections. `answers_only`: only answered flushes count as
    transcribed audio, for an engine that may legitimately be late (the CPU).
    """

    def __init__(self, patience: Patience | None = None, *, silent_s: float = 0.0, answers_only: bool = False) -> None:
        self._patience = patience or Patience()
        # After the first word the usual time applies: the connection is not deaf.
        self._silence_s = self._patience.speech_s
        self._answers_only = answers_only
        self._sent = 0
        # Speech that was sent: in completed stretches, and in the present one if there is one.
        self._speech = 0
        self._stretch: int | None = None
        # Marks of audio that is not known to be transcribed, and of audio that lags (see `_advance` and `_measure_lag`).
        self._unheard: deque[_Mark] = deque(maxlen=_MARKS)
        self._lagging: deque[_Mark] = deque(maxlen=_MARKS)
        self._flushes: deque[int] = deque(maxlen=_MARKS)
        self._answered = 0
        # Speech in the transcribed audio, now and at the latest word.
        self._heard_speech = 0
        self._speech_at_word = -round(silent_s * SAMPLE_RATE)
        self._has_text = False
        self._progress: deque[tuple[float, int]] = deque()
        #: Seconds since the audio was sent that the server transcribes now; 0 if that is no lag.
        self.lag_s = 0.0
        self._slow = False
        # Whether lag is measured by word times, and the position of the latest word.
        self._timed = True
        self._word_at = -1
        self._word = ""
        #: Number of times that the last word was sent in a row.
        self.repetitions = 0
        self._repeated_from = self._repeated_to = 0

    @property
    def silent_s(self) -> float:
        """Seconds of speech that was transcribed since the latest word."""
        return max(0, self._heard_speech - self._speech_at_word) / SAMPLE_RATE

    def mark_speech(self, active: bool) -> None:
        """Note whether there is speech in the audio that follows."""
        if active:
            self._stretch = 0 if self._stretch is None else self._stretch
        elif self._stretch is not None:
            self._speech, self._stretch = self._total_speech(), None

    def sent(self, samples: int, now: float) -> None:
        """Note that audio was sent."""
        if not self._progress:
            self._progress.append((now, 0))
        self._sent += samples
        if self._stretch is not None:
            self._stretch += samples
        if not self._unheard or self._sent - self._unheard[-1].position >= _MARK_S * SAMPLE_RATE:
            self._mark(now)

    def flush_sent(self, now: float) -> None:
        self._mark(now)
        self._flushes.append(self._sent)

    def flush_answered(self) -> None:
        """All audio before the oldest unanswered flush has been transcribed."""
        if self._flushes:
            self._answered = max(self._answered, self._flushes.popleft())

    def word(self, text: str, start_s: float | None, now: float) -> bool:
        """Note a word and, if the server says it, its position in the audio that was sent.

        Returns False for punctuation alone, which is no word.
        """
        position = self._sent if start_s is None else min(self._sent, round(start_s * SAMPLE_RATE))
        bare = "".join(character for character in text.casefold() if character.isalnum())
        if not bare:
            return False
        if bare != self._word:
            self._word, self.repetitions, self._repeated_from = bare, 0, position
        self.repetitions += 1
        self._repeated_to = position
        # Where the server does not report its progress, word times show it, unless they are not those of the stream.
        if start_s is None or position <= self._word_at:
            self._timed = False
        elif self._timed:
            self._measure_lag(position, now)
        self._word_at = position
        self.text()
        return True

    def text(self) -> None:
        """Note text that is not a single word."""
        self._has_text = True
        self._speech_at_word = self._heard_speech
        self._silence_s = Patience().speech_s

    def check(self, acknowledged_s: float | None, now: float) -> SttUnhealthy | None:
        """What is wrong, if anything, given how much audio the server reports as transcribed (None if it does not)."""
        self._advance(acknowledged_s, now)
        if acknowledged_s is not None and not self._answers_only:
            self._timed = False
            self._measure_lag(round(acknowledged_s * SAMPLE_RATE), now)
        if self._heard_speech - self._speech_at_word >= self._silence_s * SAMPLE_RATE:
            return _deaf()
        if self._answers_only:
            return None
        repeated_s = (self._repeated_to - self._repeated_from) / SAMPLE_RATE
        if self.repetitions >= REPETITIONS and repeated_s >= self._patience.speech_s:
            return SttRepeating(
                "The server repeats the same word without end.",
                fix="Restart it if this continues. A temperature of 0.25 prevents most such loops.",
            )
        if self._slow:
            return SttSlow(
                "The server transcribes more slowly than people speak, so captions come too late.",
                fix="Give it a faster GPU, or allow fewer sessions at a time (batch_size).",
            )
        return None

    def check_end(self, speech_s: float) -> SttDeaf | None:
        """What is wrong with a connection that has ended in order: it sent no word for so much speech."""
        silent = self._total_speech() - max(0, self._speech_at_word)
        return _deaf() if not self._has_text and silent >= speech_s * SAMPLE_RATE else None

    def _mark(self, now: float) -> None:
        mark = _Mark(self._sent, self._total_speech(), now)
        self._unheard.append(mark)
        self._lagging.append(mark)

    def _total_speech(self) -> int:
        return self._speech + max(0, (self._stretch or 0) - round(UNSURE_S * SAMPLE_RATE))

    def _advance(self, acknowledged_s: float | None, now: float) -> None:
        """Find out how much of the speech has been transcribed."""
        heard, sent_before = self._answered, -math.inf
        if not self._answers_only:
            if acknowledged_s is None:
                sent_before = now - UNREPORTED_S
            else:
                heard = max(heard, round(acknowledged_s * SAMPLE_RATE))
        while (mark := self._unheard[0] if self._unheard else None) and (mark.position <= heard or mark.at <= sent_before):
            self._heard_speech = mark.speech
            self._unheard.popleft()

    def _measure_lag(self, position: int, now: float) -> None:
        """Measure how long ago the audio at `position` was sent, which is where the server is now."""
        while self._lagging and self._lagging[0].position <= position:
            self._lagging.popleft()
        behind = bool(self._lagging) and self._sent - position > SLACK_S * SAMPLE_RATE
        self.lag_s = now - self._lagging[0].at if behind else 0.0
        if not self._progress:
            return  # no audio was sent: the server answers a flush, or says words of its own
        # The audio that was transcribed during the last seconds.
        if now - self._progress[-1][0] >= RATE_WINDOW_S / 8:
            self._progress.append((now, position))
        while len(self._progress) > 1 and self._progress[1][0] <= now - RATE_WINDOW_S:
            self._progress.popleft()
        since, start = self._progress[0]
        slowly = position - start < RATE_NEEDED * (now - since) * SAMPLE_RATE
        self._slow = self.lag_s > self._patience.lag_s and slowly


def _deaf() -> SttDeaf:
    return SttDeaf(
        "The server accepts audio, but sends no words although people speak.",
        fix="Restart it if this continues, and check its log.",
    )

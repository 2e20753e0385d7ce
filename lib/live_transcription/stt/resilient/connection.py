# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The position of one connection in the audio of a stream that outlives it. Pure: `now` is in seconds of a monotonic clock.

Positions are samples since the stream began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from live_transcription.stt.base import SttStream
from live_transcription.stt.kyutai.steps import MODEL_DELAY_S
from live_transcription.transcript import Hypothesis, Token, WordSpacing
from live_transcription.types import SAMPLE_RATE


class Connection:
    """One connection. `start` is the position of the first sample sent on it; `speed` the multiple of real time for sending.

    `carried` are tokens of the open utterance whose audio this connection does not receive.
    """

    def __init__(self, stream: SttStream, start: int, speed: float, opened_at: float, *, carried: Iterable[Token] = ()) -> None:
        self.stream = stream
        self.opened_at = opened_at
        #: Position up to which audio was sent.
        self.sent = start
        #: Whether the stream expects speech in the audio that follows (`SttStream.mark_speech`).
        self.speech = False
        #: Number of flushes that were sent and not settled yet, and how many of them were answered.
        self.flushes = 0
        self.answered = 0
        #: No more audio will be sent.
        self.ending = False
        #: Whether the connection has emitted text, and whether as hypotheses.
        self.emitted = False
        self.hypotheses = False
        #: To be emitted before its own tokens. Hypotheses include them already (see `hypothesis`).
        self.carried = deque(carried)
        # Text of the open utterance that precedes this connection's hypotheses.
        self._prefix = ""
        self._start = start
        self._speed = speed
        self._may_send_at = float("-inf")

    @property
    def acknowledged(self) -> int | None:
        """The position up to which all words were emitted; None if the stream cannot know."""
        acknowledged_s = self.stream.acknowledged_s
        return None if acknowledged_s is None else min(self.sent, self._start + round(acknowledged_s * SAMPLE_RATE))

    @property
    def word_bound(self) -> int:
        """A position behind the words emitted now: the acknowledged one, otherwise the sent one minus the model's delay."""
        acknowledged = self.acknowledged
        return max(self._start, self.sent - round(MODEL_DELAY_S * SAMPLE_RATE)) if acknowledged is None else acknowledged

    @property
    def transcribed(self) -> int:
        """A position before which all words were emitted. While the server catches up, it lies behind `word_bound`."""
        return max(self._start, self.word_bound - round(self.stream.behind_s * SAMPLE_RATE))

    def has_acknowledged(self, position: int) -> bool:
        """Whether all words before `position` were certainly emitted, given that a flush has just been answered."""
        acknowledged = self.acknowledged
        if acknowledged is None:
            # A flush of an engine that sends hypotheses is answered after its final one.
            return self.hypotheses
        return acknowledged + SAMPLE_RATE // 1000 >= position  # a millisecond, for positions that were converted to seconds

    def skip_to(self, position: int) -> None:
        """Continue at `position`, since older audio was dropped."""
        if position > self.sent:
            self._start += position - self.sent
            self.sent = position

    def wait_s(self, now: float) -> float:
        """Seconds until more audio may be sent."""
        return max(0.0, self._may_send_at - now)

    def note_sent(self, samples: int, now: float) -> None:
        """Count samples that are about to be sent. Counted before sending, since their words may arrive during it."""
        self.sent += samples
        self._may_send_at = max(self._may_send_at, now) + samples / (SAMPLE_RATE * self._speed)

    def position(self, stream_s: float) -> int:
        """The position of a time of this connection's stream."""
        return self._start + round(stream_s * SAMPLE_RATE)

    def token(self, token: Token) -> Token:
        """Convert a token's times to those of the whole stream."""
        self.emitted = True
        return replace(token, start_s=self._shift(token.start_s), end_s=self._shift(token.end_s))

    def hypothesis(self, hypothesis: Hypothesis) -> Hypothesis:
        """Convert a hypothesis to the times of the whole stream and the whole text of the open utterance."""
        self.emitted = self.hypotheses = True
        if self.carried:
            spacing = WordSpacing()
            for token in self.carried:
                spacing.observe(token)
            self._prefix = "".join(map(spacing.spaced, self.carried)).strip()
            self.carried.clear()
        text = f"{self._prefix} {hypothesis.text}".strip() if self._prefix else hypothesis.text
        if hypothesis.final:
            self._prefix = ""
        return replace(hypothesis, text=text, start_s=self._shift(hypothesis.start_s), end_s=self._shift(hypothesis.end_s))

    def _shift(self, seconds: float | None) -> float | None:
        return None if seconds is None else seconds + self._start / SAMPLE_RATE

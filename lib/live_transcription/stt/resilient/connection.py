# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Where one connection stands in the audio of a stream that outlives it. Pure: times are given in seconds of a monotonic clock.

Positions are samples since the stream began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from live_transcription.stt.base import Hypothesis, SttStream, Token
from live_transcription.stt.kyutai.chunker import MODEL_DELAY_S
from live_transcription.types import SAMPLE_RATE


class Connection:
    """`start`: position of the first sample sent on it; `speed`: multiple of real time at which it may be sent audio.

    `unsaid`: what other connections told of the open utterance and this one is not sent the audio of.
    """

    def __init__(self, stream: SttStream, start: int, speed: float, opened_at: float, *, unsaid: Iterable[Token] = ()) -> None:
        self.stream = stream
        self.opened_at = opened_at
        self.sent = start
        #: Flushes sent on it and not yet answered.
        self.flushes = 0
        #: No more audio will be sent.
        self.ending = False
        #: It has brought text; of hypotheses it is known that a flush or a final tells all.
        self.told = False
        self.hypotheses = False
        #: To be told before its own tokens; `hypothesis` takes it into account by itself.
        self.unsaid = deque(unsaid)
        # Of the open utterance, what stands before the hypotheses of this connection.
        self._before = ""
        self._start = start
        self._speed = speed
        self._free_at = float("-inf")

    @property
    def heard(self) -> int | None:
        """The position up to which all words have been told, where the stream can know."""
        heard_s = self.stream.heard_s
        return None if heard_s is None else min(self.sent, self._start + round(heard_s * SAMPLE_RATE))

    @property
    def word_bound(self) -> int:
        """A position that the words told now lie before: what was heard, else what was sent less the model's delay."""
        heard = self.heard
        return max(self._start, self.sent - round(MODEL_DELAY_S * SAMPLE_RATE)) if heard is None else heard

    def has_heard(self, position: int) -> bool:
        """Whether it is certain that all words before `position` have been told; a flush has just been answered."""
        heard = self.heard
        # A millisecond, for positions that went through seconds.
        return self.hypotheses if heard is None else heard + SAMPLE_RATE // 1000 >= position

    def skip_to(self, position: int) -> None:
        """Audio before `position` is no longer to be had."""
        if position > self.sent:
            self._start += position - self.sent
            self.sent = position

    def wait_s(self, now: float) -> float:
        """How long to wait before more audio may be sent."""
        return max(0.0, self._free_at - now)

    def sending(self, samples: int, now: float) -> None:
        """So many samples go out now. Counts before they have gone: their words may be back before we know."""
        self.sent += samples
        self._free_at = max(self._free_at, now) + samples / (SAMPLE_RATE * self._speed)

    def position(self, stream_s: float) -> int:
        """The position of a time in this connection's stream."""
        return self._start + round(stream_s * SAMPLE_RATE)

    def token(self, token: Token) -> Token:
        """With times of the whole stream instead of this connection's."""
        self.told = True
        return replace(token, start_s=self._shift(token.start_s), end_s=self._shift(token.end_s))

    def hypothesis(self, hypothesis: Hypothesis) -> Hypothesis:
        """With times of the whole stream instead of this connection's, and with the whole of the open utterance."""
        self.told = self.hypotheses = True
        if self.unsaid:
            self._before = _joined(self.unsaid)
            self.unsaid.clear()
        text = f"{self._before} {hypothesis.text}".strip() if self._before else hypothesis.text
        if hypothesis.final:
            self._before = ""
        return replace(hypothesis, text=text, start_s=self._shift(hypothesis.start_s), end_s=self._shift(hypothesis.end_s))

    def _shift(self, seconds: float | None) -> float | None:
        return None if seconds is None else seconds + self._start / SAMPLE_RATE


def _joined(tokens: Sequence[Token]) -> str:
    """The tokens' text. Where the server does not say what starts a word: pieces with leading spaces, or whole words."""
    pieces = any(token.starts_word is None and token.text[:1].isspace() for token in tokens)
    parts = (
        token.text
        if pieces and token.starts_word is None
        else f"{'' if token.starts_word is False else ' '}{token.text.strip()}"
        for token in tokens
    )
    return "".join(parts).strip()

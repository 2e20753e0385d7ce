# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The words emitted since the last closed point, and the point from which audio is replayed if the connection breaks. Pure.

A point of the audio is closed if nothing before it will ever have to be transcribed again:

- `Flushed` closes everything before the flush. If the backend cannot prove that it transcribed all of it
  (`SttStream.acknowledged_s`), only the audio before the last word is closed: a dying server may have withheld words.
- `Pause` closes what had been acknowledged by then.
- A final `Hypothesis` closes up to its end.

Words emitted since then are repeated after a `Restarted` event: by transcribing their audio again, or, if that audio is gone or
too old to be worth it, by emitting the same tokens again.

Positions are samples since the stream began.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

from live_transcription.transcript import Token
from live_transcription.types import SAMPLE_RATE

#: Maximum number of tokens that are remembered of an utterance that does not end.
TOKEN_LIMIT = 1000
#: Maximum duration in seconds of acknowledged audio that is transcribed again.
RECALL_S = 15.0


@dataclass(frozen=True, slots=True)
class EmittedToken:
    """A token that was emitted, and a position that its audio lies before."""

    token: Token = field(repr=False)
    position: int


@dataclass(frozen=True, slots=True)
class Replay:
    """Emit `tokens` again, then transcribe the audio from `position` on."""

    position: int
    tokens: tuple[Token, ...]


class OpenUtterance:
    """The utterance that a break of the connection would interrupt."""

    def __init__(self) -> None:
        #: Everything before this position is closed.
        self.closed = 0
        self._emitted: deque[EmittedToken] = deque(maxlen=TOKEN_LIMIT)
        # Whether the reader has text that a restart must retract.
        self._shown = False

    @property
    def is_open(self) -> bool:
        """Whether text was emitted since the last closed point."""
        return self._shown or bool(self._emitted)

    @property
    def last_word(self) -> int:
        """The position before which the audio of all emitted words lies."""
        return max(self.closed, self._emitted[-1].position) if self._emitted else self.closed

    def last_word_by(self, flush: int) -> int:
        """As `last_word`, after a flush at this position was answered.

        During a replay, `last_word` may lie far behind the words, since audio is sent faster than words arrive. If all words
        have times before the flush, none of the audio after it is theirs.
        """
        timely = all(each.token.start_s is not None and each.token.start_s * SAMPLE_RATE < flush for each in self._emitted)
        return max(self.closed, min(flush, self.last_word)) if timely else self.last_word

    def add(self, token: Token, position: int) -> None:
        """Note an emitted token whose audio lies before `position`."""
        self._emitted.append(EmittedToken(token, max(position, self.last_word)))
        self._shown = True

    def show(self) -> None:
        """Note emitted text that is not remembered here: a hypothesis that is not final, or a repeated token."""
        self._shown = True

    def close(self, position: int) -> None:
        """Close everything before `position`, which includes all emitted words."""
        self.closed = max(self.closed, position)
        self._emitted.clear()
        self._shown = False

    def restart(self, oldest: int, acknowledged: int) -> Replay:
        """Where to begin again, given that audio is available from `oldest` on and was acknowledged up to `acknowledged`.

        Forgets the tokens that will be emitted again.
        """
        floor = max(self.closed, oldest, acknowledged - round(RECALL_S * SAMPLE_RATE))
        position = floor
        if floor > self.closed:
            # The utterance cannot be replayed from its start. Cut it at the widest gap between words, not within a word.
            behind = [each for each in self._emitted if floor <= each.position <= floor + round(RECALL_S * SAMPLE_RATE / 2)]
            gaps = [(after.position - before.position, before.position) for before, after in pairwise(behind)]
            position = max(gaps)[1] if gaps else floor
        repeated = tuple(each for each in self._emitted if each.position <= position and floor > self.closed)
        self._emitted = deque(repeated, maxlen=TOKEN_LIMIT)
        return Replay(position, tuple(each.token for each in repeated))

    def retract(self) -> bool:
        """Retract what the reader has. Returns whether there was anything, so that `Restarted` must be emitted."""
        shown, self._shown = self._shown, False
        return shown

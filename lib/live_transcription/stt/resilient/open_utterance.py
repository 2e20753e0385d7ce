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
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from live_transcription.transcript import Token, WordSpacing
from live_transcription.types import SAMPLE_RATE

#: Maximum number of tokens that are remembered of an utterance that does not end.
TOKEN_LIMIT = 1000
#: Maximum duration in seconds of acknowledged audio that is transcribed again.
RECALL_S = 15.0
#: Seconds after its start at which a word has ended, if the server does not report its end.
WORD_S = 1.0
#: Seconds before its reported start from which a word may be audible: two steps of the model.
LEAD_S = 0.16


@dataclass(frozen=True, slots=True)
class EmittedToken:
    """A token that was emitted, a position behind its start, and the position of its end if that is known.

    Words are emitted before they end, so `position` may lie within the word.
    """

    token: Token = field(repr=False)
    position: int
    end: int | None = None

    @property
    def start(self) -> int:
        """Where the token's audio begins. If the server does not report it, that is somewhere before this position."""
        start_s = self.token.start_s
        return self.position if start_s is None else min(self.position, round(start_s * SAMPLE_RATE))


@dataclass(frozen=True, slots=True)
class Replay:
    """Emit `tokens` again, then transcribe the audio from `position` on, which is between two words."""

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
        """A position behind the starts of all emitted words."""
        return max(self.closed, self._emitted[-1].position) if self._emitted else self.closed

    def last_word_by(self, flush: int) -> int:
        """As `last_word`, after a flush at this position was answered.

        During a replay, `last_word` may lie far behind the words, since audio is sent faster than words arrive. If all words
        have times before the flush, none of the audio after it is theirs.
        """
        timely = all(each.token.start_s is not None and each.token.start_s * SAMPLE_RATE < flush for each in self._emitted)
        return max(self.closed, min(flush, self.last_word)) if timely else self.last_word

    def add(self, token: Token, position: int) -> None:
        """Note an emitted token whose audio begins before `position`."""
        end = None if token.end_s is None else round(token.end_s * SAMPLE_RATE)
        self._emitted.append(EmittedToken(token, max(position, self.last_word), end))
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
        if floor <= self.closed:
            self._emitted.clear()
            return Replay(floor, ())
        # The utterance cannot be replayed from its start. Cut it at the widest gap between words, not within a word.
        cuts = self._cuts(floor, acknowledged)
        if cuts:
            _, position, count = max(cuts)
        else:
            position, count = floor, sum(each.position <= floor for each in self._emitted)
        repeated = list(self._emitted)[:count]
        if repeated:
            repeated[-1] = replace(repeated[-1], end=position)
        self._emitted = deque(repeated, maxlen=TOKEN_LIMIT)
        return Replay(position, tuple(each.token for each in repeated))

    def _cuts(self, floor: int, acknowledged: int) -> list[tuple[int, int, int]]:
        """The cuts between words soon after `floor`, each as the width of its gap, its position, and the tokens before it."""
        cuts = []
        limit = floor + round(RECALL_S * SAMPLE_RATE / 2)
        spacing = WordSpacing()
        for each in self._emitted:
            spacing.observe(each.token)
        emitted = list(self._emitted)
        for count, (before, after) in enumerate(zip_longest(emitted, emitted[1:]), 1):
            assert before is not None
            if after is not None and not spacing.begins_word(after.token):
                continue
            end = before.start + round(WORD_S * SAMPLE_RATE) if before.end is None else before.end
            if after is None:
                # Another word, which was not emitted yet, may begin behind what was acknowledged.
                latest = max(floor, acknowledged)
            else:
                latest = (before.start + after.start) // 2
                if after.token.start_s is not None:
                    latest = max(latest, after.start - round(LEAD_S * SAMPLE_RATE))
                end = min(end, latest)
            if (cut := max(floor, end)) <= min(latest, limit):
                cuts.append((latest - before.start, cut, count))
        return cuts

    def retract(self) -> bool:
        """Retract what the reader has. Returns whether there was anything, so that `Restarted` must be emitted."""
        shown, self._shown = self._shown, False
        return shown

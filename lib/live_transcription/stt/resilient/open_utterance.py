# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What a stream has told since its last closed point, and from where it has to be heard again if the connection breaks. Pure.

A point of the audio is closed when nothing before it will have to be heard again:

- `Flushed`: everything before the flush. Where the backend cannot prove that it heard all of it (`SttStream.heard_s`), only
  what lies before the last word, so that the audio of words that a dying server withheld is still there.
- `Pause`: what had been heard by then.
- a final `Hypothesis`: its end.

Text that was told since then is repeated after a `Restarted`: by hearing its audio again, and, where that is no longer held
or lies too far back to be worth it, by telling the same tokens again.

Positions are samples since the stream began.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

from live_transcription.stt.base import Token
from live_transcription.types import SAMPLE_RATE

#: Tokens remembered of an utterance that does not end.
TOKEN_LIMIT = 1000
#: Audio that was heard before is heard again for so many seconds at most.
RECALL_S = 15.0


@dataclass(frozen=True, slots=True)
class ToldToken:
    """A token that was told, and a position that its audio lies before."""

    token: Token = field(repr=False)
    position: int


@dataclass(frozen=True, slots=True)
class Replay:
    """Send audio from `position` on; before its words, tell `tokens` again."""

    position: int
    tokens: tuple[Token, ...]


class OpenUtterance:
    def __init__(self) -> None:
        self.closed = 0
        self._told: deque[ToldToken] = deque(maxlen=TOKEN_LIMIT)
        # Whether whoever reads holds text that a restart has to take back.
        self._shown = False

    @property
    def is_open(self) -> bool:
        """Whether text was told since the last closed point."""
        return self._shown or bool(self._told)

    @property
    def last_word(self) -> int:
        """The position before which all words told so far lie."""
        return max(self.closed, self._told[-1].position) if self._told else self.closed

    def last_word_by(self, flush: int) -> int:
        """As `last_word`, once a flush at this position was answered. While missed audio is sent much lies between what was
        said and what was sent; where the words' own times are before the flush, none of it is theirs.
        """
        timely = all(told.token.start_s is not None and told.token.start_s * SAMPLE_RATE < flush for told in self._told)
        return max(self.closed, min(flush, self.last_word)) if timely else self.last_word

    def token(self, token: Token, position: int) -> None:
        """A token was told; its audio lies before `position`."""
        self._told.append(ToldToken(token, max(position, self.last_word)))
        self._shown = True

    def shown(self) -> None:
        """Text was told that is remembered otherwise: a hypothesis that is not final, or a token once again."""
        self._shown = True

    def close(self, position: int) -> None:
        """Everything told lies before `position` and stands."""
        self.closed = max(self.closed, position)
        self._told.clear()
        self._shown = False

    def restart(self, oldest: int, heard: int) -> Replay:
        """Begin again, with audio held from `oldest` on and heard up to `heard`; forgets what will be heard again."""
        floor = max(self.closed, oldest, heard - round(RECALL_S * SAMPLE_RATE))
        position = floor
        if floor > self.closed:
            # Cut where the gap between two words is widest, not in the middle of one.
            behind = [told for told in self._told if floor <= told.position <= floor + round(RECALL_S * SAMPLE_RATE / 2)]
            gaps = [(after.position - before.position, before.position) for before, after in pairwise(behind)]
            position = max(gaps)[1] if gaps else floor
        kept = tuple(told for told in self._told if told.position <= position and floor > self.closed)
        self._told = deque(kept, maxlen=TOKEN_LIMIT)
        return Replay(position, tuple(told.token for told in kept))

    def taken_back(self) -> bool:
        """Whether `Restarted` has to be told; from then on nothing is shown."""
        shown, self._shown = self._shown, False
        return shown

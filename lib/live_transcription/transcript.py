# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The results of speech-to-text: a stream's events, from which `captions` makes words, and a call's utterances and gaps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Token:
    """New text that continues the text before it. Times are in seconds of the stream's audio, None if unknown.

    `text` is as the server sent it. `starts_word` is True if a space belongs before it, False if it continues the last word,
    and None if the server does not say; then `WordSpacing` decides. `language` is None if it is the stream's.
    """

    text: str = field(repr=False)
    starts_word: bool | None = None
    start_s: float | None = None
    end_s: float | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The whole text of the open utterance, replacing the last hypothesis. `final=True` closes the utterance.

    `start_s`, `end_s`: position of the utterance in the audio that was sent to this stream, in seconds.
    A final hypothesis with empty text means that the utterance contained no words. `language` is None if it is the stream's.
    """

    text: str = field(repr=False)
    final: bool
    start_s: float | None = None
    end_s: float | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """The server detected the end of a sentence or turn."""


@dataclass(frozen=True, slots=True)
class Flushed:
    """All audio sent before a `flush()` has been transcribed; its words came before this event."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The stream was replaced and repeats all words since its last `Pause`, `Flushed` or final `Hypothesis`."""


SttEvent: TypeAlias = Token | Hypothesis | Pause | Flushed | Restarted


class WordSpacing:
    """Decides where words begin in the tokens of one session.

    Kyutai's servers send whole words, except the proxy on Modal in its specified format, which sends pieces: there, leading
    white space begins a word. A session counts as sending whole words until a piece with leading white space arrives.
    """

    def __init__(self) -> None:
        self.pieces = False

    def observe(self, token: Token) -> None:
        """Learn the format from a token, before the other methods see it."""
        if token.starts_word is None and token.text[:1].isspace() and token.text.strip():
            self.pieces = True

    def begins_word(self, token: Token) -> bool:
        """Whether the token begins a new word."""
        if token.starts_word is not None:
            return token.starts_word
        return token.text[:1].isspace() if self.pieces else True

    def spaced(self, token: Token) -> str:
        """The token's text, with a space in front if it begins a word."""
        if self.pieces and token.starts_word is None:
            return token.text
        return f" {token.text.strip()}" if self.begins_word(token) else token.text.strip()


class SpeakerKind(StrEnum):
    """Who somebody is to Talk. A federated speaker is a user of another server."""

    USER = "user"
    GUEST = "guest"
    PHONE = "phone"
    FEDERATED = "federated"


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one speaker said without a long pause.

    `text` may differ from the captions of the same words. Those were committed while the utterance was still growing, and an
    engine such as Whisper decodes all of it once more at the end. It is empty if that found no words.

    `final` is False if the utterance was cut short because its stream failed or ran out of time; its last words may be missing.
    `id` is unique within the process. `started_at` and `ended_at` are the Unix times in seconds at which it was spoken, to
    about a word. If the engine sends no word times (Kyutai on Modal), they are the times at which the words arrived.
    `kind` is set by the call, which knows the participants.
    """

    id: int
    speaker: str
    text: str = field(repr=False)
    language: str
    final: bool
    started_at: float
    ended_at: float
    kind: SpeakerKind = SpeakerKind.USER


class GapReason(StrEnum):
    """Why nothing was transcribed for a while.

    OUTAGE: the app was not in the room. NO_ENGINE: no speech-to-text engine accepted the speech. NOT_ADMITTED: more people
    spoke than the limits of speakers and memory allow. RESTART: the app was restarted. DAMAGED: what was stored before a
    restart could not be read to its end. FULL: the transcript has reached its maximum size.
    """

    OUTAGE = "outage"
    NO_ENGINE = "no-engine"
    NOT_ADMITTED = "not-admitted"
    RESTART = "restart"
    DAMAGED = "damaged"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Gap:
    """Speech that was not transcribed, between these Unix times in seconds. `speaker` is None if it concerns everybody."""

    reason: GapReason
    started_at: float
    ended_at: float
    speaker: str | None = None


_utterance_ids = itertools.count(1)


def next_utterance_id() -> int:
    """An id that no other utterance of this process has."""
    return next(_utterance_ids)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The events of a speech-to-text stream, from `stt` to `captions`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Token:
    """New text that follows what came before. `text` as the server sent it (see `starts_word`), times in stream seconds.

    `starts_word`: True if a space belongs before it, False if it continues the last word, None if the dialect does not say.
    """

    text: str = field(repr=False)
    starts_word: bool | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The whole text of the open utterance, replacing the last hypothesis; `final=True` closes the utterance.

    `start_s`, `end_s`: where the utterance lies in the audio that was sent to this stream, in seconds.
    A final with empty text means that the utterance had no words.
    """

    text: str = field(repr=False)
    final: bool
    start_s: float | None = None
    end_s: float | None = None


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

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The limits of captions, and the results of the assembler."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CaptionPolicy:
    """When words are committed and where utterances end. Values are in seconds, those of `…_chars` in characters.

    A word of a hypothesis is committed at the latest `longest_doubt_s` after it first appeared.

    The other limits apply to word streams. A word waits up to `mark_wait_s` for punctuation that comes in a token of its own.
    An utterance ends when the server detects a pause, at a flush, and `idle_s` after its last word. It also ends with a
    sentence if it has at least `sentence_chars`, and before the word that would make it longer than `max_chars`.
    """

    longest_doubt_s: float = 2.5
    mark_wait_s: float = 0.15
    idle_s: float = 2.0
    sentence_chars: int = 40
    max_chars: int = 120


@dataclass(frozen=True, slots=True)
class Committed:
    """Whole words of one speaker that were not committed before. They are never revised.

    `utterance` is the final text of the utterance if the utterance ends here; in this case `text` may be empty. An engine that
    revises its hypotheses decodes the whole utterance once more, so this text may differ from the committed words.
    """

    text: str = field(repr=False)
    utterance: str | None = field(default=None, repr=False)

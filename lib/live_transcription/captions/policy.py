# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Limits of captions in seconds and characters, and the assembler's results."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CaptionPolicy:
    """When words are committed and where utterances end. Seconds, except `…_chars`.

    `longest_doubt_s`: a word of a hypothesis is committed at most so long after it first appeared. The others apply to word
    streams. `mark_wait_s`: how long a word waits for punctuation that comes in a token of its own. An utterance ends at the
    server's pause, at a flush, `idle_s` after its last word, at a sentence end from `sentence_chars` on, and before the word
    that would make it longer than `max_chars`.
    """

    longest_doubt_s: float = 2.5
    mark_wait_s: float = 0.15
    idle_s: float = 2.0
    sentence_chars: int = 40
    max_chars: int = 120


@dataclass(frozen=True, slots=True)
class Committed:
    """Whole words of one speaker that were not committed before. They are shown as they are and never revised.

    `utterance`: the final text of the utterance if it ends with these words; then `text` may be empty. An engine that revises
    its hypotheses decodes the whole utterance once more for it, so it may differ from the committed words.
    """

    text: str = field(repr=False)
    utterance: str | None = field(default=None, repr=False)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Limits of captions in seconds and characters, and what the assembler gives."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CaptionPolicy:
    """When words are committed and where utterances end. Seconds, except `…_chars`.

    `longest_doubt_s`: a word of a hypothesis is committed at the latest so long after it first appeared. The others are
    for word streams. `mark_wait_s`: a word waits so long for punctuation that comes in a token of its own. An utterance
    ends at the server's pause, at a flush, `idle_s` after its last word, at a sentence end from `sentence_chars` on, and
    before the word that would make it longer than `max_chars`.
    """

    longest_doubt_s: float = 2.5
    mark_wait_s: float = 0.15
    idle_s: float = 2.0
    sentence_chars: int = 40
    max_chars: int = 120


@dataclass(frozen=True, slots=True)
class Committed:
    """Whole words of one speaker that were not committed before. They are shown as they are and never revised.

    `utterance`: the final text of the utterance, where it ends with these words; then `text` may be empty. Of an engine
    that revises its hypotheses this is its last look at the whole utterance, so it may differ from what was committed.
    """

    text: str = field(repr=False)
    utterance: str | None = field(default=None, repr=False)

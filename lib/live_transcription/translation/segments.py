# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# ruff: noqa: RUF001 - this file is about typographic punctuation
"""Cuts the committed words of a call into segments that make sense to a translator. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from live_transcription.captions.words import ends_sentence, join, may_end, split
from live_transcription.types import Caption

#: Maximum length of a segment in characters, and seconds from its first word until it is cut even within a sentence.
MAX_CHARS = 240
MAX_AGE_S = 8.0
#: Marks after which a long sentence is cut, if it has one.
_CLAUSE_MARKS = (",", ";", ":", "–", "—", "،", "、", "，", "；", "：")


@dataclass(frozen=True, slots=True)
class Segment:
    """Words of one speaker in one language: a sentence, a part of a long one, or the rest of an utterance.

    Each committed word is in exactly one segment. `id` is unique within a call.
    """

    id: int
    speaker: str
    text: str = field(repr=False)
    language: str


@dataclass(slots=True)
class _Open:
    """Words of a speaker that are in no segment yet. `since`: when the first of them was committed."""

    language: str
    since: float
    words: list[str] = field(default_factory=list)
    text: str = field(default="", repr=False)

    def add(self, *words: str) -> _Open:
        for word in words:
            self.words.append(word)
            self.text = join(self.text, word)
        return self


class Segments:
    """Takes the committed words of all speakers of a call and returns their segments, in order.

    A segment ends with a sentence, with the utterance, with a change of language, and at the latest after `MAX_CHARS`
    characters or `MAX_AGE_S` seconds. `now` is in seconds of any monotonic clock.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._last_id = 0

    @property
    def next_id(self) -> int:
        """The id of the next segment."""
        return self._last_id + 1

    def offer(self, caption: Caption, now: float) -> list[Segment]:
        """Add committed words. Returns the segments that they complete."""
        found: list[Segment] = []
        # A text without letters consists of masked words.
        words = split(caption.text) or caption.text.split()
        before = self._open.get(caption.speaker)
        if before is not None and words and before.language != caption.language:
            found += self.end_utterance(caption.speaker)
        for word in words:
            # `split` returns each word with its punctuation and the space after it.
            word = word.rstrip()
            entry = self._open.setdefault(caption.speaker, _Open(caption.language, now))
            if entry.words and len(entry.text) + 1 + len(word) > MAX_CHARS:
                found.append(self._cut(caption.speaker, entry, now))
                entry = self._open.setdefault(caption.speaker, _Open(caption.language, now))
            entry.add(word)
            if ends_sentence(word):
                found += self.end_utterance(caption.speaker)
        return found

    def end_utterance(self, speaker: str) -> list[Segment]:
        """The speaker has paused or left. Returns the rest of the words, if any."""
        entry = self._open.pop(speaker, None)
        return [] if entry is None else [self._segment(speaker, entry.language, entry.text)]

    def tick(self, now: float) -> list[Segment]:
        """Cut what has waited for `MAX_AGE_S`. Call it at `next_deadline()`."""
        late = [(speaker, entry) for speaker, entry in self._open.items() if entry.since + MAX_AGE_S <= now]
        return [self._cut(speaker, entry, now) for speaker, entry in late]

    def next_deadline(self) -> float | None:
        """When to call `tick`; None while no words wait."""
        return min((entry.since + MAX_AGE_S for entry in self._open.values()), default=None)

    def clear(self) -> list[Segment]:
        """Return the rest of the words of all speakers."""
        return [segment for speaker in list(self._open) for segment in self.end_utterance(speaker)]

    def _cut(self, speaker: str, entry: _Open, now: float) -> Segment:
        """Cut after the last clause, or else after the last word that may end a text, or else after the last word."""
        words = entry.words
        ends = [index for index in range(1, len(words) + 1) if words[index - 1].endswith(_CLAUSE_MARKS)]
        if not ends:
            ends = [index for index in range(1, len(words)) if may_end(words[index - 1], words[index])]
        end = ends[-1] if ends else len(words)
        rest = words[end:]
        segment = self._segment(speaker, entry.language, _Open(entry.language, now).add(*words[:end]).text)
        if rest:
            self._open[speaker] = _Open(entry.language, now).add(*rest)
        else:
            del self._open[speaker]
        return segment

    def _segment(self, speaker: str, language: str, text: str) -> Segment:
        self._last_id += 1
        return Segment(self._last_id, speaker, text, language)

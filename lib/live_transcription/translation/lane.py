# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The translated captions of one call in one language: order, deadlines, and replacements of missing translations. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from live_transcription.captions.words import has_word, one_line
from live_transcription.translation.segments import Segment
from live_transcription.types import TRANSLATION_DEADLINE_S, Caption

#: Seconds after which the original of a segment is shown.
DEADLINE_S = TRANSLATION_DEADLINE_S
#: Number of segments that may wait for their translation. The original of a further one is shown.
MAX_WAITING = 8
#: Limits of what cannot be sent, since the app is not in the room: bytes of UTF-8, and seconds. The oldest is dropped first.
MAX_BYTES = 64 * 1024
MAX_UNSENT_S = 120.0
#: A translation is refused if it is longer than this many times its original, and this many characters.
MAX_GROWTH, ALWAYS_ALLOWED_CHARS = 4, 200


class Outcome(Enum):
    """What readers get: a translation, or the original, because the languages are the same or there is no translation."""

    TRANSLATED = "translated"
    SAME_LANGUAGE = "same language"
    LATE = "late"
    FAILED = "failed"
    QUEUE_FULL = "queue full"


@dataclass(frozen=True, slots=True)
class Due:
    """A caption to send. `segment`: the id of its segment. `waited_s`: seconds since the segment was complete."""

    caption: Caption
    segment: int
    outcome: Outcome
    waited_s: float


@dataclass(slots=True)
class _Entry:
    """`outcome` is None while the translation is awaited."""

    segment: Segment
    added_at: float
    text: str = field(repr=False)
    language: str
    outcome: Outcome | None = None


def same_language(one: str, other: str) -> bool:
    """Whether two language ids name the same language, in any region or script: `pt` and `pt_BR`."""
    return _base(one) == _base(other)


def acceptable(original: str, translation: str) -> str:
    """Return a translation in one line, or "" if it cannot be one: without a word, or far too long."""
    text = one_line(translation)
    longest = max(ALWAYS_ALLOWED_CHARS, MAX_GROWTH * len(original))
    return text if has_word(text) and len(text) <= longest else ""


class TranslationLane:
    """Takes segments and their translations, and returns captions: each segment once, in order for each speaker.

    A translation that fails, takes longer than `DEADLINE_S`, or would wait behind `MAX_WAITING` others is replaced by the
    original in its own language. `now` is in seconds of any monotonic clock. After each change and at `next_deadline()`,
    call `next_caption(now)` until it returns None.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._speakers: dict[str, deque[_Entry]] = {}
        self._waiting: dict[int, _Entry] = {}
        self._bytes = 0
        #: Number of words dropped so far.
        self.dropped_words = 0

    def add(self, segment: Segment, now: float) -> bool:
        """Add a segment. Returns whether to have it translated."""
        entry = _Entry(segment, now, segment.text, segment.language)
        if same_language(segment.language, self.language) or not has_word(segment.text):  # only masked words
            entry.outcome = Outcome.SAME_LANGUAGE
        elif len(self._waiting) >= MAX_WAITING:
            entry.outcome = Outcome.QUEUE_FULL
        else:
            self._waiting[segment.id] = entry
        self._speakers.setdefault(segment.speaker, deque()).append(entry)
        self._bytes += len(entry.text.encode())
        self._drop_oldest(now)
        return segment.id in self._waiting

    def wants(self, segment_id: int) -> bool:
        """Whether a translation of this segment would still be used."""
        return segment_id in self._waiting

    def translated(self, segment_id: int, text: str) -> None:
        """A translation has arrived. It is ignored if the segment has been shown, and refused if it cannot be one."""
        if (entry := self._waiting.pop(segment_id, None)) is None:
            return
        if accepted := acceptable(entry.text, text):
            self._bytes += len(accepted.encode()) - len(entry.text.encode())
            entry.text, entry.language, entry.outcome = accepted, self.language, Outcome.TRANSLATED
        else:
            entry.outcome = Outcome.FAILED

    def failed(self, segment_id: int) -> None:
        """There will be no translation of this segment."""
        if (entry := self._waiting.pop(segment_id, None)) is not None:
            entry.outcome = Outcome.FAILED

    def next_caption(self, now: float) -> Due | None:
        """Return the next caption that is due, or None."""
        self._drop_oldest(now)
        for entry in self._heads():
            if entry.outcome is None and now >= entry.added_at + DEADLINE_S:
                del self._waiting[entry.segment.id]
                entry.outcome = Outcome.LATE
            if entry.outcome is not None:
                self._remove(entry)
                caption = Caption(entry.segment.speaker, entry.text, entry.language)
                return Due(caption, entry.segment.id, entry.outcome, now - entry.added_at)
        return None

    def next_deadline(self) -> float | None:
        """When to call `next_caption` if no translation arrives earlier; None while nothing waits."""
        heads = self._heads()
        return min((entry.added_at + DEADLINE_S if entry.outcome is None else entry.added_at for entry in heads), default=None)

    def unsent(self) -> list[Segment]:
        """The segments that were not returned yet, as they were said, oldest first."""
        entries = [entry for entries in self._speakers.values() for entry in entries]
        return [entry.segment for entry in sorted(entries, key=lambda entry: entry.segment.id)]

    def give_up(self) -> None:
        """Wait for no translation any more: return the rest as it was said."""
        for entry in self._waiting.values():
            entry.outcome = Outcome.LATE
        self._waiting.clear()

    def clear(self) -> None:
        """Drop and count everything."""
        while (oldest := self._oldest()) is not None:
            self._drop(oldest)

    def _heads(self) -> Iterator[_Entry]:
        """The first entry of each speaker, the oldest one first."""
        return iter(sorted((entries[0] for entries in self._speakers.values()), key=lambda entry: entry.added_at))

    def _oldest(self) -> _Entry | None:
        return next(self._heads(), None)

    def _remove(self, entry: _Entry) -> None:
        entries = self._speakers[entry.segment.speaker]
        entries.popleft()
        if not entries:
            del self._speakers[entry.segment.speaker]
        self._waiting.pop(entry.segment.id, None)
        self._bytes -= len(entry.text.encode())

    def _drop(self, entry: _Entry) -> None:
        self.dropped_words += len(entry.text.split())
        self._remove(entry)

    def _drop_oldest(self, now: float) -> None:
        while (oldest := self._oldest()) is not None and (self._bytes > MAX_BYTES or oldest.added_at < now - MAX_UNSENT_S):
            self._drop(oldest)


def _base(language: str) -> str:
    return language.replace("-", "_").partition("_")[0].casefold()

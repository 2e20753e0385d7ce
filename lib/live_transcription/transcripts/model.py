# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A transcript: utterances and gaps in the order of their beginning. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo

from live_transcription.transcript import Gap, GapReason, SpeakerKind, Utterance
from live_transcription.transcripts.clean import clean

#: Maximum number of characters of a name, a conversation's title and one utterance. An engine's utterance has about 120.
NAME_CHARS = 128
TITLE_CHARS = 255
TEXT_CHARS = 16_384
#: Maximum size in bytes of one transcript, in memory and in the journal: seven hours in which six people talk all the time.
MAX_BYTES = 8 * 1024 * 1024
#: Seconds between two gaps of one speaker that are shown as one: an engine that does not work is tried every 15 s.
MERGE_S = 20.0
#: Bytes that an entry takes besides its texts.
_ENTRY_BYTES = 256


@dataclass(frozen=True, slots=True)
class TranscriptInfo:
    """`started_at`: the Unix time in seconds from which on utterances are kept. `call_started_at`: when the call began, if
    that is known; offsets count from there. `zone`: IANA name of the time zone in which times are shown.
    """

    room_token: str
    title: str = field(repr=False)
    started_at: float
    zone: str = "UTC"
    call_started_at: float | None = None

    @property
    def origin(self) -> float:
        """The Unix time from which offsets count."""
        return self.started_at if self.call_started_at is None else min(self.call_started_at, self.started_at)

    def local_time(self, at: float) -> datetime:
        """A Unix time in the transcript's zone, rounded to milliseconds; in UTC if this machine does not know the zone."""
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(at * 1000))
        return moment.astimezone(_zone(self.zone))


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance. `id` is unique in its transcript: the number of starts of the app, and the utterance's id in that process.

    `name` is what the speaker was called at the time, "" if unknown. `translations` are by the language's id.
    """

    id: tuple[int, int]
    name: str = field(repr=False)
    kind: SpeakerKind
    text: str = field(repr=False)
    language: str
    final: bool
    started_at: float
    ended_at: float
    translations: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Missing:
    """Time without a transcript, for one person or for everybody (`name` "")."""

    reason: GapReason
    started_at: float
    ended_at: float
    name: str = field(default="", repr=False)

    @property
    def seconds(self) -> float:
        return self.ended_at - self.started_at


Entry: TypeAlias = Spoken | Missing


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A transcript at one time, which may be rendered in another thread."""

    info: TranscriptInfo
    entries: tuple[Entry, ...] = field(repr=False)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of translations, in alphabetical order."""
        return tuple(sorted({code for entry in self.entries if isinstance(entry, Spoken) for code in entry.translations}))

    @property
    def ended_at(self) -> float:
        """When the last utterance ended; the start if there is none."""
        return max((entry.ended_at for entry in self.entries), default=self.info.started_at)


class Transcript:
    """Entries arrive in the order of their end and are kept in the order of their beginning, each once.

    An utterance with a known id replaces the one before. Utterances that began before the transcript are not kept, since
    nobody had agreed to it then. Texts and names are cleaned here, so what the renderers get is one line of printable text.
    """

    def __init__(self, info: TranscriptInfo) -> None:
        self.info = replace(info, title=clean(info.title, TITLE_CHARS))
        # Sorted by the beginning, then by the time of arrival.
        self._entries: list[tuple[float, int, Entry]] = []
        self._arrived = 0
        self._positions: dict[tuple[int, int], tuple[float, int]] = {}
        self._bytes = 0
        self._full_at: tuple[float, int] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def full(self) -> bool:
        """Whether an entry was refused because the transcript has reached `MAX_BYTES`."""
        return self._full_at is not None

    @property
    def full_gap(self) -> Missing | None:
        """What is missing because the transcript is full."""
        entry = None if self._full_at is None else self._entries[self._index(self._full_at)][2]
        return entry if isinstance(entry, Missing) else None

    def snapshot(self) -> Snapshot:
        """All entries, with gaps that belong together as one."""
        entries: list[Entry] = []
        # The positions of the last gap of each speaker and reason.
        gaps: dict[tuple[GapReason, str], int] = {}
        for _, _, entry in self._entries:
            if isinstance(entry, Missing):
                index = gaps.get((entry.reason, entry.name))
                last = None if index is None else entries[index]
                if index is not None and last is not None and entry.started_at - last.ended_at <= MERGE_S:
                    entries[index] = replace(last, ended_at=max(last.ended_at, entry.ended_at))
                    continue
                gaps[entry.reason, entry.name] = len(entries)
            entries.append(entry)
        return Snapshot(self.info, tuple(entries))

    def spoken(
        self, utterance: Utterance, display_name: str, *, run: int, translations: Mapping[str, str] | None = None
    ) -> Spoken:
        """The entry of an utterance, which is not added yet. `run`: number of starts of the app."""
        started_at = utterance.started_at if math.isfinite(utterance.started_at) else self.info.started_at
        ended_at = utterance.ended_at if math.isfinite(utterance.ended_at) else started_at
        text = clean(utterance.text, TEXT_CHARS)
        return Spoken(
            (run, utterance.id),
            clean(display_name, NAME_CHARS),
            utterance.kind,
            text,
            clean(utterance.language, NAME_CHARS),
            utterance.final and len(text) < TEXT_CHARS,
            started_at,
            max(started_at, ended_at),
            {clean(code, NAME_CHARS): clean(words, TEXT_CHARS) for code, words in (translations or {}).items()},
        )

    def missing(self, gap: Gap, display_name: str) -> Missing | None:
        """The entry of a gap, which is not added yet; None if it lies before the transcript."""
        if not (math.isfinite(gap.started_at) and math.isfinite(gap.ended_at)) or gap.ended_at <= self.info.started_at:
            return None
        started_at = max(self.info.started_at, gap.started_at)
        return Missing(gap.reason, started_at, max(started_at, gap.ended_at), clean(display_name, NAME_CHARS))

    def add(self, entry: Entry) -> bool:
        """Add an entry, or replace the utterance with the same id. Returns whether the transcript has changed."""
        if isinstance(entry, Spoken):
            if not entry.text or entry.started_at < self.info.started_at:
                return False
            self._remove(entry.id)
        elif entry.reason is GapReason.FULL:  # of a former process
            if self._full_at is None:
                self._insert_full(entry)
            return True
        if self._bytes + _size(entry) > MAX_BYTES:
            self._refuse(entry)
            return False
        self._insert(entry)
        return True

    def translate(self, spoken_id: tuple[int, int], language: str, text: str) -> Spoken | None:
        """The utterance with a translation, which `add` puts in its place; None if there is no such utterance."""
        position = self._positions.get(spoken_id)
        if position is None:
            return None
        entry = self._entries[self._index(position)][2]
        assert isinstance(entry, Spoken)
        return replace(entry, translations={**entry.translations, clean(language, NAME_CHARS): clean(text, TEXT_CHARS)})

    def _insert(self, entry: Entry) -> None:
        self._arrived += 1
        position = (entry.started_at, self._arrived)
        insort(self._entries, (*position, entry))
        self._bytes += _size(entry)
        if isinstance(entry, Spoken):
            self._positions[entry.id] = position

    def _remove(self, spoken_id: tuple[int, int]) -> None:
        if (position := self._positions.pop(spoken_id, None)) is not None:
            _, _, entry = self._entries.pop(self._index(position))
            self._bytes -= _size(entry)

    def _refuse(self, entry: Entry) -> None:
        """Mark the time from which on nothing is kept, which grows with each refused entry."""
        if self._full_at is None:
            self._insert_full(Missing(GapReason.FULL, entry.started_at, entry.ended_at))
            return
        index = self._index(self._full_at)
        started_at, arrived, gap = self._entries[index]
        self._entries[index] = (started_at, arrived, replace(gap, ended_at=max(gap.ended_at, entry.ended_at)))

    def _insert_full(self, gap: Missing) -> None:
        self._insert(gap)
        self._full_at = (gap.started_at, self._arrived)

    def _index(self, position: tuple[float, int]) -> int:
        return bisect_left(self._entries, position, key=lambda each: each[:2])


def _size(entry: Entry) -> int:
    texts = [entry.name, entry.text, *entry.translations.values()] if isinstance(entry, Spoken) else [entry.name]
    return _ENTRY_BYTES + sum(len(text.encode()) for text in texts)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # unknown (a KeyError), or no name of a zone
        return UTC

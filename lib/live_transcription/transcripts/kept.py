# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A transcript that is being kept: in memory, from which it is rendered, and in its journal, from which a restart continues it.

The owner calls `sync` from a thread every few seconds, `retry` when it is due anyhow, and `delete` once the transcript was
delivered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from live_transcription.transcript import Gap, GapReason, Utterance
from live_transcription.transcripts.journal import Recovered
from live_transcription.transcripts.model import Missing, Snapshot, Spoken, Transcript, TranscriptInfo
from live_transcription.transcripts.records import Note, Record, Start, UnknownRecord, decode, encode
from live_transcription.transcripts.storage import KEPT_S, JournalFile, JournalFolder, JournalFull

#: Maximum number of records that wait for a disk that is full. They are also in memory, so only a crash would lose them.
MAX_WAITING = 1_000
#: Seconds of a restart that are not worth a mark.
UNMARKED_S = 1.0


class KeptTranscript:
    """Create it with `create` or `continue_all`. `run`: number of starts of the app that have added to it, from 1.

    A failing disk loses nothing as long as the app runs: `problem` then has the reason, and each later record tries again.
    """

    def __init__(self, transcript: Transcript, journal: JournalFile, run: int = 1) -> None:
        self._transcript = transcript
        self._journal = journal
        self._run = run
        self._waiting: deque[Record] = deque()
        self._notes: dict[str, str] = {}
        # When the former process was certainly running.
        self._alive_at: float | None = None
        #: Why the last records are not in the journal; None if they are.
        self.problem: OSError | None = None
        #: Rises with each change of the transcript, so that its owner knows when to render it again.
        self.version = 0

    @classmethod
    def create(cls, folder: JournalFolder, info: TranscriptInfo) -> KeptTranscript:
        """Begin a transcript. Raises OSError if its journal cannot be written."""
        transcript, journal = Transcript(info), folder.create()
        try:
            journal.append(encode(transcript.info))
            journal.sync()
        except OSError:
            journal.delete()
            raise
        return cls(transcript, journal)

    @classmethod
    def continue_all(cls, folder: JournalFolder, now: float) -> list[KeptTranscript]:
        """The transcripts that a former process has not delivered. `now`: Unix time in seconds."""
        found = (cls._continue(journal, recovered, now) for journal, recovered in folder.open_all(now))
        return [kept for kept in found if kept is not None]

    @classmethod
    def _continue(cls, journal: JournalFile, recovered: Recovered, now: float) -> KeptTranscript | None:
        records, damaged = [], recovered.damaged
        for content in recovered.records:
            try:
                records.append(decode(content))
            except UnknownRecord:
                damaged = True
        if not records or not isinstance(info := records[0], TranscriptInfo):
            journal.delete()
            return None
        starts = sum(isinstance(record, Start) for record in records)
        kept = cls(Transcript(info), journal, 2 + starts)
        for record in records[1:]:
            match record:
                case Spoken() | Missing():
                    kept._transcript.add(record)
                case Note():
                    kept._notes[record.name] = record.value
        if kept.expired(now):
            journal.delete()
            return None
        last = kept.snapshot().ended_at
        kept._alive_at = min(now, max(last, journal.changed_at or last))
        kept._write(Start(now))
        if damaged:
            kept._add(Missing(GapReason.DAMAGED, last, last))
        return kept

    @property
    def info(self) -> TranscriptInfo:
        return self._transcript.info

    @property
    def notes(self) -> Mapping[str, str]:
        """The owner's values by name."""
        return self._notes

    @property
    def full(self) -> bool:
        """Whether the transcript has reached its maximum size, so that nothing more is kept."""
        return self._transcript.full

    def snapshot(self) -> Snapshot:
        """The transcript as it is now, to be rendered."""
        return self._transcript.snapshot()

    def expired(self, now: float) -> bool:
        """Whether nothing was said for so long that the transcript must be deleted even if it was not delivered."""
        return now - self.snapshot().ended_at >= KEPT_S

    def resume(self, now: float) -> None:
        """The app is in the call again after a restart: mark the time since the former process last wrote."""
        alive_at, self._alive_at = self._alive_at, None
        if alive_at is not None and now - alive_at >= UNMARKED_S:
            self._add(Missing(GapReason.RESTART, alive_at, now))

    def on_utterance(
        self, utterance: Utterance, display_name: str, translations: Mapping[str, str] | None = None
    ) -> tuple[int, int]:
        """Keep an utterance. Returns its id for `translate`."""
        spoken = self._transcript.spoken(utterance, display_name, run=self._run, translations=translations)
        self._add(spoken)
        return spoken.id

    def on_gap(self, gap: Gap, display_name: str = "") -> None:
        """Mark time without a transcript."""
        if (missing := self._transcript.missing(gap, display_name)) is not None:
            self._add(missing)

    def translate(self, spoken_id: tuple[int, int], language: str, text: str) -> None:
        """Add a translation that was shown. It is ignored if the utterance is not in the transcript."""
        if (spoken := self._transcript.translate(spoken_id, language, text)) is not None:
            self._add(spoken)

    def note(self, name: str, value: str) -> None:
        """Store a value of the owner with the transcript."""
        if self._notes.get(name) != value:
            self._notes[name] = value
            self._write(Note(name, value))

    def retry(self) -> None:
        """Write what could not be written before."""
        self._flush()

    def sync(self) -> None:
        """Make all records survive a loss of power. Blocks; may run in a thread. Raises OSError."""
        self._journal.sync()

    def close(self) -> None:
        """Leave the journal for the next start. Idempotent."""
        self._flush()
        self._journal.close()

    def delete(self) -> None:
        """The transcript was delivered or given up: delete what is stored. Raises OSError. Idempotent."""
        self._waiting.clear()
        self._journal.delete()

    def _add(self, entry: Spoken | Missing) -> None:
        was_full = self._transcript.full
        if self._transcript.add(entry):
            self.version += 1
            self._write(entry)
        elif not was_full and (gap := self._transcript.full_gap) is not None:
            self.version += 1
            self._write(gap)

    def _write(self, record: Record) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(record)
        self._flush()

    def _flush(self) -> None:
        while self._waiting:
            try:
                self._journal.append(encode(self._waiting[0]))
            except OSError as error:
                self.problem = error
                if isinstance(error, JournalFull):
                    self._waiting.clear()
                return
            self._waiting.popleft()
        self.problem = None

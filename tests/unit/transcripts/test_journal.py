# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A journal keeps each utterance exactly once, wherever the process is killed, and shows any change of its file."""

from __future__ import annotations

import errno
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from live_transcription.transcript import Gap, GapReason, SpeakerKind
from live_transcription.transcripts import model, storage
from live_transcription.transcripts.journal import HEADER_BYTES, JournalWriter, WrongKey, recover
from live_transcription.transcripts.kept import MAX_WAITING, KeptTranscript
from live_transcription.transcripts.model import Missing, Snapshot, Spoken, TranscriptInfo
from live_transcription.transcripts.records import Note, Start, UnknownRecord, decode, encode
from live_transcription.transcripts.storage import KEPT_S, JournalFolder
from tests.unit.transcripts.samples import BEGIN, INFO, hostile, said

SECRET = b"app secret"


def folder_of(path: Path, secret: bytes = SECRET) -> JournalFolder:
    return JournalFolder(path / "transcripts", secret)


def texts(snapshot: Snapshot) -> list[str]:
    return [entry.text for entry in snapshot.entries if isinstance(entry, Spoken)]


def journals(path: Path) -> list[Path]:
    return sorted((path / "transcripts").iterdir())


def kill(kept: KeptTranscript) -> None:
    """End the process without a goodbye: only what was written remains."""
    kept._journal.close()


def sealed(*contents: bytes) -> bytes:
    writer = JournalWriter.new(SECRET)
    content = writer.header
    for each in contents:
        content += writer.seal(each)
        writer.sealed()
    return content


# The format.


def test_records_are_read_as_they_were_written_and_are_not_legible() -> None:
    content = sealed(b"first words", b"", b"last words")
    found = recover(content, SECRET)
    assert found.records == (b"first words", b"", b"last words")
    assert (found.size, found.damaged) == (len(content), False)
    assert b"words" not in content
    assert "words" not in repr(found)


def test_a_journal_cut_at_any_byte_returns_its_complete_records() -> None:
    contents = (b"one", b"two" * 20, b"three")
    content = sealed(*contents)
    for cut in range(HEADER_BYTES, len(content) + 1):
        found = recover(content[:cut], SECRET)
        assert not found.damaged
        assert found.records == contents[: len(found.records)]
        assert found.size <= cut
        rest = content[found.size : cut]
        assert len(found.records) == 3 or len(rest) < len(sealed(contents[len(found.records)])) - HEADER_BYTES
        assert recover(content[:cut] + bytes(500), SECRET).records == found.records, "zeros after a loss of power"


def test_any_changed_byte_is_found() -> None:
    contents = (b"one", b"two", b"three")
    content = sealed(*contents)
    for index in range(len(content)):
        changed = bytearray(content)
        changed[index] ^= 0x40
        if index < HEADER_BYTES:
            with pytest.raises(WrongKey):
                recover(bytes(changed), SECRET)
        else:
            found = recover(bytes(changed), SECRET)
            assert found.damaged
            assert found.records == contents[: len(found.records)]


def test_moved_repeated_and_removed_records_are_found() -> None:
    content = sealed(b"aa", b"bb", b"cc")
    size = (len(content) - HEADER_BYTES) // 3
    head, (a, b, c) = content[:HEADER_BYTES], (content[HEADER_BYTES + n * size :][:size] for n in range(3))
    for parts, readable in (((b, a, c), 0), ((a, c), 1), ((a, a, b, c), 1), ((a, c, b), 1), ((b,), 0)):
        found = recover(head + b"".join(parts), SECRET)
        assert found.damaged
        assert found.records == (b"aa", b"bb", b"cc")[:readable]
    other = sealed(b"xx")
    assert recover(head + a + other[HEADER_BYTES:], SECRET).damaged, "a record of another journal"


@given(st.binary(max_size=300))
def test_garbage_is_no_journal(content: bytes) -> None:
    with pytest.raises(WrongKey):
        recover(content, SECRET)


def test_another_secret_reads_nothing() -> None:
    with pytest.raises(WrongKey):
        recover(sealed(b"words"), b"another secret")


def test_two_records_with_the_same_content_differ() -> None:
    writer = JournalWriter.new(SECRET)
    assert writer.seal(b"words")[4:] != writer.seal(b"words")[4:], "a torn record and the one in its place share no key stream"


# Records.


@given(hostile, hostile, st.floats(0, 1e10), st.sampled_from(SpeakerKind))
def test_a_record_is_decoded_as_it_was_encoded(text: str, name: str, at: float, kind: SpeakerKind) -> None:
    text, name = (each.encode(errors="replace").decode() for each in (text, name))
    spoken = Spoken((2, 7), name, kind, text, "en", False, at, at + 1, {"fr": text})
    for record in (spoken, Missing(GapReason.OUTAGE, at, at + 1, name), INFO, Start(at), Note("file", text)):
        assert decode(encode(record)) == record


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"null", b"\xff", b'{"is":"new"}', b'{"is":"note","name":1,"value":""}', b'{"is":"start","at":NaN}',
        b'{"is":"spoken"}', b'{"is":"start","at":"x"}', b"[" * 100_000, b'{"is":"missing","reason":"x","time":[0,1],"name":""}',
        b'{"is":"transcript","version":2,"room":"","title":"","started_at":0,"zone":"","call_started_at":null}',
    ],
)  # fmt: skip
def test_records_of_another_version_are_recognised(content: bytes) -> None:
    with pytest.raises(UnknownRecord):
        decode(content)


# Exactly once.


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_utterance_is_lost_or_doubled_over_any_crashes(tmp_path: Path, data: st.DataObject) -> None:
    folder = JournalFolder(Path(tempfile.mkdtemp(dir=tmp_path)), SECRET)
    kept = KeptTranscript.create(folder, INFO)
    path = kept._journal.path
    written: list[str] = []
    for run in range(data.draw(st.integers(1, 4))):
        for number in range(data.draw(st.integers(0, 5))):
            at = data.draw(st.floats(0, 3000))
            text = f"{run}.{number} " + "x" * data.draw(st.integers(0, 30))
            kept.on_utterance(said(text.strip(), at, number=number), "Ada")
            written.append(text.strip())
        size = path.stat().st_size
        # Killed while it wrote one more record.
        kept.on_utterance(said("torn", 0.0, number=99), "Ada")
        cut = data.draw(st.integers(size, path.stat().st_size - 1))
        kill(kept)
        os.truncate(path, cut)
        (kept,) = KeptTranscript.continue_all(folder, BEGIN + 3600)
        assert sorted(texts(kept.snapshot())) == sorted(written)
        starts = [entry.started_at for entry in kept.snapshot().entries]
        assert starts == sorted(starts)
        assert not any(isinstance(entry, Missing) for entry in kept.snapshot().entries)
    kept.delete()


def test_a_restart_continues_with_names_notes_gaps_and_translations(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    kept = KeptTranscript.create(folder, INFO)
    first = kept.on_utterance(said("Hello", 1.0, number=1), "Ada")
    kept.translate(first, "fr", "Bonjour")
    kept.on_gap(Gap(GapReason.OUTAGE, BEGIN + 5, BEGIN + 9))
    kept.note("path", "/Talk/a.md")
    kept.note("path", "/Talk/b.md")
    before = kept.snapshot()
    kill(kept)
    (again,) = KeptTranscript.continue_all(folder_of(tmp_path), BEGIN + 20)
    assert again.snapshot() == before
    assert again.notes == {"path": "/Talk/b.md"}
    second = again.on_utterance(said("Hello again", 30.0, number=1), "Ada")
    assert second != first
    assert texts(again.snapshot()) == ["Hello", "Hello again"]
    again.delete()
    assert journals(tmp_path) == []


def test_the_time_of_a_restart_is_marked_from_the_last_sign_of_life(tmp_path: Path) -> None:
    kept = KeptTranscript.create(folder_of(tmp_path), INFO)
    kept.on_utterance(said("Hello", 1.0), "Ada")
    path = kept._journal.path
    kept.close()
    os.utime(path, (BEGIN + 60, BEGIN + 60))
    (again,) = KeptTranscript.continue_all(folder_of(tmp_path), BEGIN + 70)
    again.resume(BEGIN + 72)
    again.resume(BEGIN + 90)
    gaps = [entry for entry in again.snapshot().entries if isinstance(entry, Missing)]
    assert gaps == [Missing(GapReason.RESTART, BEGIN + 60, BEGIN + 72)]


def test_damage_is_marked_and_what_is_authentic_is_kept(tmp_path: Path) -> None:
    kept = KeptTranscript.create(folder_of(tmp_path), INFO)
    kept.on_utterance(said("authentic", 1.0), "Ada")
    size = kept._journal.path.stat().st_size
    kept.on_utterance(said("changed", 2.0), "Ada")
    kill(kept)
    content = bytearray(kept._journal.path.read_bytes())
    content[size + 40] ^= 1
    kept._journal.path.write_bytes(content)
    (again,) = KeptTranscript.continue_all(folder_of(tmp_path), BEGIN + 20)
    assert texts(again.snapshot()) == ["authentic"]
    assert [entry.reason for entry in again.snapshot().entries if isinstance(entry, Missing)] == [GapReason.DAMAGED]
    again.on_utterance(said("later", 30.0), "Ada")
    kill(again)
    (third,) = KeptTranscript.continue_all(folder_of(tmp_path), BEGIN + 40)
    assert texts(third.snapshot()) == ["authentic", "later"]


# The files.


def test_only_the_app_can_read_a_journal_and_its_name_tells_nothing(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        kept = KeptTranscript.create(folder_of(tmp_path), INFO)
    finally:
        os.umask(before)
    kept.on_utterance(said("confidential", 1.0), "Grace")
    (path,) = journals(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert INFO.room_token not in path.name
    content = path.read_bytes()
    assert not any(word in content for word in (b"confidential", b"Grace", b"Weekly", INFO.room_token.encode()))


def test_a_changed_secret_deletes_the_journal_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kill(KeptTranscript.create(folder_of(tmp_path), INFO))
    with caplog.at_level(logging.WARNING):
        assert KeptTranscript.continue_all(folder_of(tmp_path, b"new secret"), BEGIN) == []
    assert "the app's secret has changed" in caplog.text
    assert INFO.room_token not in caplog.text
    assert journals(tmp_path) == []


def test_a_journal_without_a_transcript_is_deleted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for size in (0, 10, HEADER_BYTES, HEADER_BYTES + 5):
        journal = folder.create()
        journal.append(encode(INFO))
        journal.close()
        os.truncate(journal.path, size)
        assert KeptTranscript.continue_all(folder, BEGIN) == []
        assert journals(tmp_path) == []


def test_journals_expire_after_a_day_however_often_the_app_restarts(tmp_path: Path) -> None:
    kept = KeptTranscript.create(folder_of(tmp_path), INFO)
    kept.on_utterance(said("Hello", 0.0, 1.0), "Ada")
    kept.close()
    for hours in (6, 12, 18, 23.9):
        (kept,) = KeptTranscript.continue_all(folder_of(tmp_path), BEGIN + hours * 3600)
        kept.close()
    assert KeptTranscript.continue_all(folder_of(tmp_path), BEGIN + 1 + KEPT_S) == []
    assert journals(tmp_path) == []


def test_expired_files_are_deleted_unread_except_those_in_use(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    old, used = KeptTranscript.create(folder, INFO), KeptTranscript.create(folder, INFO)
    for kept in (old, used):
        os.utime(kept._journal.path, (BEGIN, BEGIN))
    assert folder.delete_expired(BEGIN + KEPT_S - 1) == 0
    assert folder.delete_expired(BEGIN + KEPT_S, in_use=frozenset({used._journal.path})) == 1
    assert journals(tmp_path) == [used._journal.path]


def test_a_removed_app_leaves_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    kill(KeptTranscript.create(folder, INFO))
    folder.delete_all()
    folder.delete_all()
    assert not (tmp_path / "transcripts").exists()


def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    kill(KeptTranscript.create(folder, INFO))
    target = tmp_path / "target"
    target.write_text("keep me")
    (tmp_path / "transcripts" / "a.journal").symlink_to(target)
    os.mkfifo(tmp_path / "transcripts" / "b.journal")
    (tmp_path / "transcripts" / "c.journal").mkdir()
    assert len(KeptTranscript.continue_all(folder, BEGIN)) == 1
    assert target.read_text() == "keep me"


# A failing disk.


class Disk:
    """In place of write(2): a disk with so many free bytes, or with a failure."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free: float = float("inf")
        self.error: int | None = None
        self._write: Callable[[int, bytes], int] = os.write
        monkeypatch.setattr(storage.os, "write", self.write)

    def write(self, descriptor: int, content: bytes) -> int:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        if not self.free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, content[: int(min(self.free, len(content)))])
        self.free -= written
        return written


@pytest.mark.parametrize("free", [0, 1, 30, 100])
def test_a_full_disk_loses_nothing_while_the_app_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    disk = Disk(monkeypatch)
    kept = KeptTranscript.create(folder_of(tmp_path), INFO)
    kept.on_utterance(said("before", 1.0), "Ada")
    disk.free = free
    kept.on_utterance(said("full", 2.0), "Ada")
    kept.on_utterance(said("still full", 3.0), "Ada")
    assert kept.problem is not None
    assert kept.problem.errno == errno.ENOSPC
    assert texts(kept.snapshot()) == ["before", "full", "still full"]
    assert recover(kept._journal.path.read_bytes(), SECRET).records[1:], "what was stored can be read"
    disk.free = float("inf")
    kept.retry()
    assert kept.problem is None
    kill(kept)
    (again,) = KeptTranscript.continue_all(folder_of(tmp_path), BEGIN + 10)
    assert texts(again.snapshot()) == ["before", "full", "still full"]


def test_a_disk_that_stays_full_costs_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    kept = KeptTranscript.create(folder_of(tmp_path), INFO)
    disk.error = errno.EIO
    for number in range(MAX_WAITING + 50):
        kept.on_utterance(said("x", float(number), number=number), "Ada")
    assert len(kept._waiting) == MAX_WAITING
    assert len(texts(kept.snapshot())) == MAX_WAITING + 50


@pytest.mark.parametrize("free", [0, 10, HEADER_BYTES, HEADER_BYTES + 20])
def test_a_transcript_that_cannot_be_stored_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    Disk(monkeypatch).free = free
    with pytest.raises(OSError, match="No space"):
        KeptTranscript.create(folder_of(tmp_path), INFO)
    assert journals(tmp_path) == []


def test_an_unwritable_storage_is_an_error_at_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "transcripts").write_text("no folder")
    with pytest.raises(OSError, match="exists"):
        KeptTranscript.create(folder_of(tmp_path), INFO)
    assert KeptTranscript.continue_all(folder_of(tmp_path), BEGIN) == []


def test_a_journal_has_a_maximum_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_FILE_BYTES", 3_000)
    kept = KeptTranscript.create(folder_of(tmp_path), INFO)
    for number in range(50):
        kept.on_utterance(said("x", float(number), number=number), "Ada")
    assert kept.problem is not None
    assert kept.problem.errno == errno.EFBIG
    assert kept._journal.path.stat().st_size <= 3_000
    assert len(texts(kept.snapshot())) == 50
    assert not kept._waiting


def test_a_full_transcript_is_still_full_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MAX_BYTES", 2_000)
    kept = KeptTranscript.create(folder_of(tmp_path), INFO)
    for number in range(20):
        kept.on_utterance(said("x", float(number), number=number), "Ada")
    assert kept.full
    count = len(texts(kept.snapshot()))
    kill(kept)
    (again,) = KeptTranscript.continue_all(folder_of(tmp_path), BEGIN + 30)
    again.on_utterance(said("x", 40.0), "Ada")
    assert again.full
    assert len(texts(again.snapshot())) == count
    (gap,) = (entry for entry in again.snapshot().entries if isinstance(entry, Missing))
    assert gap == Missing(GapReason.FULL, BEGIN + count, BEGIN + 42)


def test_closing_and_deleting_twice_is_no_error(tmp_path: Path) -> None:
    kept = KeptTranscript.create(folder_of(tmp_path), TranscriptInfo("room", "x", BEGIN))
    kept.close()
    kept.close()
    kept.delete()
    kept.delete()

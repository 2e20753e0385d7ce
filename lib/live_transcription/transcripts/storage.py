# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The files of journals, in one folder that only the app can read. Blocking.

Each record is written with one write(2) before the call returns, so it survives the process. `sync` makes it survive a loss of
power; its caller decides how often that is worth the time. A record that could not be written as a whole is cut off again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from live_transcription.transcripts.journal import HEADER_BYTES, JournalWriter, Recovered, WrongKey, recover
from live_transcription.transcripts.model import MAX_BYTES

logger = logging.getLogger(__name__)

ENDING = ".journal"
#: Maximum bytes of a journal. Its records are larger than the entries, and some of them replace earlier ones.
MAX_FILE_BYTES = 8 * MAX_BYTES
#: Seconds for which a journal is kept after its last change.
KEPT_S = 24 * 3600.0


class JournalFull(OSError):
    """The journal has reached its maximum size."""

    def __init__(self) -> None:
        super().__init__(errno.EFBIG, "The journal has reached its maximum size")


class JournalFile:
    """An open journal. Its methods raise OSError; then the record is not part of it."""

    def __init__(
        self, path: Path, descriptor: int, writer: JournalWriter, size: int, *, changed_at: float | None = None
    ) -> None:
        self.path = path
        #: When a former process wrote to it last, as Unix time in seconds; None if it is new.
        self.changed_at = changed_at
        self._descriptor = descriptor
        self._writer = writer
        self._size = size
        # Whether a part of a record may follow the last complete one.
        self._torn = False

    def append(self, content: bytes) -> None:
        """Append one record."""
        if self._torn:
            self._cut()
        record = self._writer.seal(content)
        if self._size + len(record) > MAX_FILE_BYTES:
            raise JournalFull
        self._torn = True
        try:
            _write(self._descriptor, record)
        except OSError:
            with contextlib.suppress(OSError):
                self._cut()
            raise
        self._torn = False
        self._size += len(record)
        self._writer.sealed()

    def sync(self) -> None:
        """Wait until all records are on the disk. May run in another thread."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file, which stays for the next start. Idempotent."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def delete(self) -> None:
        """Delete the file. Idempotent."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _cut(self) -> None:
        os.ftruncate(self._descriptor, self._size)
        self._torn = False


class JournalFolder:
    """The journals of all rooms. Their names are random: they name no room.

    One process uses a folder at a time (see `ex_app.instance_lock`).
    """

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        self._secret = secret

    def create(self) -> JournalFile:
        """A new, empty journal. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / (secrets.token_hex(16) + ENDING)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            writer = JournalWriter.new(self._secret)
            _write(descriptor, writer.header)
            os.fsync(descriptor)
            self._sync_folder()
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        return JournalFile(path, descriptor, writer, HEADER_BYTES)

    def open_all(self, now: float) -> Iterator[tuple[JournalFile, Recovered]]:
        """The journals that a former process has left, ready to be continued. `now`: Unix time in seconds.

        Journals that are too old, or that another secret encrypted, are deleted. A warning says what cannot be read.
        """
        self.delete_expired(now)
        for path in self._paths():
            try:
                found = self._open(path)
            except WrongKey:
                logger.warning(
                    "An undelivered transcript is deleted: the app's secret has changed since, or the file is damaged."
                )
                self._delete(path)
            except OSError as error:
                logger.warning("An undelivered transcript cannot be read (%s). Check the app's storage.", _reason(error))
            else:
                if found is not None:
                    yield found

    def delete_expired(self, now: float, *, in_use: frozenset[Path] = frozenset()) -> int:
        """Delete journals that have not changed for `KEPT_S`, except those in use. Returns their number."""
        deleted = 0
        for path in self._paths():
            with contextlib.suppress(OSError):
                if path not in in_use and now - path.stat(follow_symlinks=False).st_mtime >= KEPT_S:
                    deleted += self._delete(path)
        return deleted

    def delete_all(self) -> None:
        """The app is being removed: leave nothing."""
        for path in self._paths():
            self._delete(path)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _open(self, path: Path) -> tuple[JournalFile, Recovered] | None:
        """None if a process was killed before the journal had a record. Raises OSError, WrongKey."""
        with contextlib.ExitStack() as undo:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            undo.callback(os.close, descriptor)
            content, changed_at = _read(descriptor)
            found = None if len(content) < HEADER_BYTES else recover(content, self._secret)
            if found is None or not (found.records or found.damaged):
                self._delete(path)
                return None
            os.ftruncate(descriptor, found.size)
            undo.pop_all()
        writer = JournalWriter(self._secret, found.salt, len(found.records))
        return JournalFile(path, descriptor, writer, found.size, changed_at=changed_at), found

    def _paths(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if path.name.endswith(ENDING))
        except OSError:
            return []

    @staticmethod
    def _delete(path: Path) -> bool:
        try:
            path.unlink()
        except OSError as error:
            logger.warning("A transcript's journal cannot be deleted (%s). Check the app's storage.", _reason(error))
            return False
        return True

    def _sync_folder(self) -> None:
        # Some file systems neither support nor need this.
        with contextlib.suppress(OSError):
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _read(descriptor: int) -> tuple[bytes, float]:
    """The content of a journal, and when it was last written. Raises WrongKey for what cannot be one."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
        raise WrongKey
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_FILE_BYTES + 1), status.st_mtime


def _write(descriptor: int, content: bytes) -> None:
    if os.write(descriptor, content) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__

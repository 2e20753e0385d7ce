# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One process per storage: two processes would restore the same calls after a restart and send every caption twice.

The lock is flock(2) on a file in the storage. The kernel releases it when the process ends, so a killed container leaves no
lock behind. Child processes do not inherit it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

FILE_NAME = "instance.lock"
#: Seconds to wait for another process to end. During an update the old container may still be ending its calls; Docker kills it
#: 10 s after SIGTERM.
WAIT_S = 12.0
_TRY_S = 0.2
_TAKEN = frozenset({errno.EWOULDBLOCK, errno.EACCES})


class StorageInUse(Exception):
    """Another process of this app uses the storage. The message is for an administrator."""


@contextlib.contextmanager
def instance_lock(
    storage: Path | None, *, wait_s: float = WAIT_S, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold the storage's lock inside the block. Raises StorageInUse after `wait_s` seconds.

    Without a storage there is no lock. If the file system has no locks or is not writable, a warning is logged instead.
    """
    descriptor = None if storage is None else _open(storage)
    try:
        if descriptor is not None and storage is not None:
            _lock(descriptor, storage, wait_s, sleep)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(storage: Path) -> int | None:
    try:
        storage.mkdir(parents=True, exist_ok=True)
        return os.open(storage / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        logger.warning(
            "The storage %s cannot be written (%s), so running calls are not stored. Check its owner and its free space.",
            storage,
            error.strerror,
        )
        return None


def _lock(descriptor: int, storage: Path, wait_s: float, sleep: Callable[[float], None]) -> None:
    waited_s = 0.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _TAKEN:
                logger.warning(
                    "The storage %s cannot be locked (%s). Make sure that only one process of the app uses it.",
                    storage,
                    error.strerror,
                )
                return
        else:
            return
        if waited_s >= wait_s:
            raise StorageInUse(
                f"Another process of this app already uses the storage {storage}. Two processes would send every caption "
                "twice. Stop the other one, or give this one another storage (APP_PERSISTENT_STORAGE)."
            )
        if waited_s == 0.0:
            logger.info("Another process of this app uses the storage %s; waiting up to %.0f s for it to end", storage, wait_s)
        sleep(_TRY_S)
        waited_s += _TRY_S

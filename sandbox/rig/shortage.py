# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Shortages of a running process by prlimit(2): while the block runs, it keeps its resources and gets no more. Linux only."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

#: Bytes of address space that are left: not enough for a thread and its stack.
ADDRESS_SPACE = 8 << 20


@contextlib.contextmanager
def out_of_descriptors(pid: int) -> Iterator[None]:
    """No descriptor above the highest one in use can be opened."""
    highest = max(map(int, os.listdir(f"/proc/{pid}/fd")))
    with _limited(pid, resource.RLIMIT_NOFILE, highest + 1):
        yield


@contextlib.contextmanager
def out_of_address_space(pid: int) -> Iterator[None]:
    """Only `ADDRESS_SPACE` is left."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0])
    with _limited(pid, resource.RLIMIT_AS, pages * resource.getpagesize() + ADDRESS_SPACE):
        yield


@contextlib.contextmanager
def out_of_disk(pid: int) -> Iterator[None]:
    """No file can grow beyond one octet, not even the process's log."""
    with _limited(pid, resource.RLIMIT_FSIZE, 1):
        yield


#: All shortages, by name.
SHORTAGES: dict[str, Callable[[int], contextlib.AbstractContextManager[None]]] = {
    "descriptors": out_of_descriptors,
    "disk": out_of_disk,
    "address space": out_of_address_space,
}


@contextlib.contextmanager
def _limited(pid: int, which: int, soft: int) -> Iterator[None]:
    before = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (soft, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, which, before)

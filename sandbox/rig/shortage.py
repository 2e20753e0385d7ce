# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Shortages of a running process, by prlimit(2): it keeps what it has, and gets no more while the block runs. Linux only."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

#: Address space that is left, in bytes: not enough for the stack of a thread and what else it needs.
ADDRESS_SPACE = 8 << 20


@contextlib.contextmanager
def out_of_descriptors(pid: int) -> Iterator[None]:
    """No descriptor above those in use can be opened."""
    highest = max(map(int, os.listdir(f"/proc/{pid}/fd")))
    with _limited(pid, resource.RLIMIT_NOFILE, highest + 1):
        yield


@contextlib.contextmanager
def out_of_address_space(pid: int) -> Iterator[None]:
    """`ADDRESS_SPACE` is left."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0])
    with _limited(pid, resource.RLIMIT_AS, pages * resource.getpagesize() + ADDRESS_SPACE):
        yield


@contextlib.contextmanager
def out_of_disk(pid: int) -> Iterator[None]:
    """No file grows beyond one octet, the process's log included."""
    with _limited(pid, resource.RLIMIT_FSIZE, 1):
        yield


#: What can be short, by name.
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

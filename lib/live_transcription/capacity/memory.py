# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Memory of this process, and its limits: those of its control groups, of the machine, and of its address space.

Works on Linux only. A limit is unknown on other systems, and where its file is missing or malformed. See the kernel's
`Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`. The files are virtual, so no read waits for a disk.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

#: Version 1 reports "no limit" as the largest number of pages. No real limit comes near it.
_NO_LIMIT = 1 << 60
_LARGEST_FILE = 256 * 1024
#: Where systemd, Docker, containerd and Podman mount both versions; v2 beside v1 in `unified`.
_MOUNTS_V2 = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
_MOUNT_V1 = "sys/fs/cgroup/memory"
#: Files of the limits, file of the usage, and the part of the usage that the kernel can free at once. Beyond `memory.high` the
#: kernel kills nothing, but slows every process down.
_FILES_V2 = (("memory.max", "memory.high"), "memory.current", "inactive_file")
_FILES_V1 = (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")


class MemorySource(Enum):
    """What sets the limit."""

    CONTAINER = "container"
    MACHINE = "machine"
    PROCESS = "process"
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """`used` of `limit` bytes are in use, as this limit counts them. `limit` is above 0."""

    source: MemorySource
    used: int
    limit: int

    @property
    def share(self) -> float:
        """Fraction of the limit in use; 1.0 means full."""
        return self.used / self.limit


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """`resident`: bytes of this process in memory, 0 if unknown. `bounds` is empty if no limit is known."""

    resident: int
    bounds: tuple[MemoryBound, ...] = ()


class MemoryMeter:
    """Reads the system's files under `root`. `address_space`: bytes that this process may map, None for no limit."""

    def __init__(self, root: Path = Path("/"), *, address_space: int | None = None) -> None:
        self._root = root
        self._address_space = address_space

    @classmethod
    def of_this_process(cls) -> MemoryMeter:
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        return cls(address_space=None if soft == resource.RLIM_INFINITY else soft)

    def read(self) -> MemoryReading:
        """Never raises; takes less than a millisecond."""
        mapped, resident = self._pages()
        return MemoryReading(resident, tuple(self._bounds(mapped, resident)))

    def _bounds(self, mapped: int, resident: int) -> Iterator[MemoryBound]:
        for used, limit in self._control_groups():
            yield MemoryBound(MemorySource.CONTAINER, used, limit)
        if (machine := self._machine(resident)) is not None:
            yield MemoryBound(MemorySource.MACHINE, resident, machine)
        if self._address_space:
            yield MemoryBound(MemorySource.PROCESS, mapped, self._address_space)

    def _pages(self) -> tuple[int, int]:
        """Bytes mapped and resident."""
        fields = [_number(field) for field in self._text("proc/self/statm").split()[:2]]
        page = os.sysconf("SC_PAGE_SIZE")
        mapped, resident = (*fields, None, None)[:2]
        return (mapped or 0) * page, (resident or 0) * page

    def _machine(self, resident: int) -> int | None:
        """How many bytes this process can grow to, beside the other processes of the machine."""
        values = self._table("proc/meminfo")
        total, available = values.get("MemTotal:"), values.get("MemAvailable:")
        if not total:
            return None
        if available is None:
            return total * 1024
        return min(total * 1024, resident + available * 1024) or None

    def _control_groups(self) -> Iterator[tuple[int, int]]:
        """(used, limit) of each group from ours up to the root that has a limit."""
        for line in self._text("proc/self/cgroup").splitlines():
            hierarchy, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if hierarchy == "0" and not controllers:
                for mount in _MOUNTS_V2:
                    for folder in _upwards(mount, path):
                        yield from self._group(folder, _FILES_V2)
            elif "memory" in controllers.split(","):
                for folder in _upwards(_MOUNT_V1, path):
                    yield from self._group(folder, _FILES_V1)

    def _group(self, folder: str, files: tuple[tuple[str, ...], str, str]) -> Iterator[tuple[int, int]]:
        limit_files, usage_file, cache = files
        limits = [limit for name in limit_files if (limit := _limit(self._text(f"{folder}/{name}"))) is not None]
        used = _number(self._text(f"{folder}/{usage_file}")) if limits else None
        if used is not None:
            yield max(0, used - self._table(f"{folder}/memory.stat").get(cache, 0)), min(limits)

    def _table(self, name: str) -> dict[str, int]:
        """Parse lines of a name and a number."""
        rows = (line.split() for line in self._text(name).splitlines())
        return {row[0]: number for row in rows if len(row) > 1 and (number := _number(row[1])) is not None}

    def _text(self, name: str) -> str:
        try:
            with (self._root / name).open("rb") as file:
                return file.read(_LARGEST_FILE).decode("ascii", "replace")
        except (OSError, ValueError):  # ValueError: the path holds a NUL
            return ""


def release_free_memory() -> None:
    """Return freed memory that glibc's allocator keeps to the system: most of it, after many speakers have left.

    Takes some 50 ms for a few hundred MB without the interpreter's lock, so call it in a thread. Does nothing without glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _upwards(mount: str, path: str) -> Iterator[str]:
    """The folder of a group and those above it. A container may see the machine's path, but only its own folder."""
    parts = [part for part in path.split("/") if part]
    if ".." in parts or len(parts) > 64:
        parts = []
    for depth in range(len(parts), -1, -1):
        yield "/".join((mount, *parts[:depth]))


def _limit(text: str) -> int | None:
    return _number(text) or None


def _number(text: str) -> int | None:
    """A number of bytes, pages or kB; None if `text` is no number, or too large."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    number = int(text)
    return number if number < _NO_LIMIT else None

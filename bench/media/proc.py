# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What a process and this machine take, from /proc (proc(5)). Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes (2**20): resident, resident with shared pages counted in part, and what would be free if the process ended."""

    rss_mb: float
    pss_mb: float
    uss_mb: float


def parse_smaps(text: str) -> Memory:
    """Of `/proc/PID/smaps_rollup`."""
    kilobytes = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            kilobytes[name] = int(value.removesuffix(" kB"))
    unique = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return Memory(*(round(number / 1024, 2) for number in (kilobytes["Rss"], kilobytes["Pss"], unique)))


def memory(pid: int) -> Memory:
    return parse_smaps((_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii", errors="replace"))


def threads(pid: int) -> int:
    return len(list((_PROC / str(pid) / "task").iterdir()))


def parse_udp_drops(text: str) -> dict[int, int]:
    """Datagrams that found the receive buffer full, by the inode of the socket; of `/proc/net/udp`."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return {int(columns[9]): int(columns[12]) for columns in rows if len(columns) >= 13}


def udp_drops(pid: int) -> dict[int, int]:
    """Datagrams that the process came too late for, by the inode of each of its UDP sockets that is open now."""
    inodes = set()
    for link in (_PROC / str(pid) / "fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            inodes.add(int(target[8:-1]))
    drops: dict[int, int] = {}
    for name in ("udp", "udp6"):
        drops |= parse_udp_drops((_PROC / str(pid) / "net" / name).read_text(encoding="ascii", errors="replace"))
    return {inode: count for inode, count in drops.items() if inode in inodes}


def waited_seconds(pid: int) -> float:
    """How long the process's main thread could have run but had to wait for a core."""
    return int((_PROC / str(pid) / "schedstat").read_text(encoding="ascii", errors="replace").split()[1]) / 1e9


def idle_seconds() -> float:
    """Seconds that all cores together have been idle since boot."""
    line = (_PROC / "stat").read_text(encoding="ascii", errors="replace").splitlines()[0].split()
    return (int(line[4]) + int(line[5])) / os.sysconf("SC_CLK_TCK")

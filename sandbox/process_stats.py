# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The resources of a process and of this machine, from /proc (proc(5)). Linux only.

All that takes a `pid` raises FileNotFoundError or ProcessLookupError where the process has ended.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_HERTZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes (2**20): resident, resident with shared pages counted in part, and what would be free if the process ended."""

    rss_mb: float
    pss_mb: float
    uss_mb: float


@dataclass(frozen=True, slots=True)
class Usage:
    """`cpu_s`, `waited_s`: all threads, since the process began; `waited_s` is time that a thread could have run but had no
    core. `udp_drops`: datagrams that found a socket's buffer full, of the `udp` sockets that are open now.
    """

    cpu_s: float
    waited_s: float
    rss_mb: float
    pss_mb: float
    threads: int
    descriptors: int
    udp: int
    udp_drops: int


def usage(pid: int) -> Usage:
    home = _PROC / str(pid)
    drops, memory_now = udp_drops(pid), memory(pid)
    return Usage(
        cpu_s=cpu_seconds(pid),
        waited_s=sum(_waited_s(task) for task in (home / "task").iterdir()),
        rss_mb=memory_now.rss_mb,
        pss_mb=memory_now.pss_mb,
        threads=threads(pid),
        descriptors=len(os.listdir(home / "fd")),
        udp=len(drops),
        udp_drops=sum(drops.values()),
    )


def cpu_seconds(pid: int) -> float:
    """Of all threads, in user and in kernel mode."""
    fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _HERTZ


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
    return parse_smaps(_read(_PROC / str(pid) / "smaps_rollup"))


def threads(pid: int) -> int:
    return len(os.listdir(_PROC / str(pid) / "task"))


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
    for table in ("udp", "udp6"):
        path = _PROC / str(pid) / "net" / table
        if path.exists():  # no udp6 where there is no IPv6
            drops |= parse_udp_drops(_read(path))
    return {inode: count for inode, count in drops.items() if inode in inodes}


def udp_ports(pid: int) -> set[int]:
    """Local ports of the UDP sockets that the process has open."""
    ours = udp_drops(pid)
    ports = set()
    for table in ("udp", "udp6"):
        path = _PROC / str(pid) / "net" / table
        for line in _read(path).splitlines()[1:] if path.exists() else ():
            columns = line.split()
            if int(columns[9]) in ours:
                ports.add(int(columns[1].rpartition(":")[2], 16))
    return ports


def main_thread_waited_seconds(pid: int) -> float:
    """How long the process's main thread could have run but had to wait for a core."""
    return _waited_s(_PROC / str(pid))


def cores_seconds() -> tuple[float, float]:
    """Seconds that all cores together have worked, and have been idle, since boot."""
    user, nice, system, idle, waiting, irq, softirq, *_ = map(int, _read(_PROC / "stat").split()[1:9])
    return (user + nice + system + irq + softirq) / _HERTZ, (idle + waiting) / _HERTZ


def _waited_s(task: Path) -> float:
    """0 where the thread has ended or the kernel does not tell."""
    try:
        return int(_read(task / "schedstat").split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the kernel says of a process, and what this machine is."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HERTZ = os.sysconf("SC_CLK_TCK")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Usage:
    """`cpu_s`, `waited_s`: all threads, since the process began; `waited_s` is time that a thread could have run but had no
    core. `udp_drops`: datagrams that found a socket's buffer full.
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
    """Raises FileNotFoundError where the process has ended."""
    home = Path(f"/proc/{pid}")
    fields = (home / "stat").read_text().rpartition(")")[2].split()
    rollup = (home / "smaps_rollup").read_text()
    memory = {name: int(kilobytes) / 1024 for name, kilobytes in re.findall(r"^(Rss|Pss):\s+(\d+)", rollup, re.MULTILINE)}
    sockets = set()
    descriptors = os.listdir(home / "fd")
    for descriptor in descriptors:
        try:
            target = os.readlink(home / "fd" / descriptor)
        except OSError:
            continue
        if target.startswith("socket:"):
            sockets.add(target[8:-1])
    rows = [line.split() for table in ("udp", "udp6") for line in _lines(home / "net" / table)]
    own = [row for row in rows if row[9] in sockets]
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) / _HERTZ,
        waited_s=sum(_waited_s(task) for task in (home / "task").iterdir()),
        rss_mb=memory["Rss"],
        pss_mb=memory["Pss"],
        threads=int(fields[17]),
        descriptors=len(descriptors),
        udp=len(own),
        udp_drops=sum(int(row[12]) for row in own),
    )


def _waited_s(task: Path) -> float:
    """0 where the thread has ended or the kernel does not tell."""
    try:
        return int((task / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def busy_s() -> float:
    """CPU seconds that the whole machine has worked since it started."""
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / _HERTZ


def machine() -> dict[str, Any]:
    """`commit` has a `+` where the working tree differs from it."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = _DIGITS.search(Path("/proc/meminfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_mb": int(memory[0]) // 1024 if memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "descriptor_limit": os.sysconf("SC_OPEN_MAX"),
        "udp_buffer_bytes": _number("/proc/sys/net/core/rmem_default"),
    }


def commit() -> str:
    """Empty outside a working tree."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],
            capture_output=True, text=True, check=True, cwd=Path(__file__).parent,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _lines(table: Path) -> list[str]:
    return table.read_text(encoding="utf-8").splitlines()[1:] if table.exists() else []

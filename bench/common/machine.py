# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Facts on which figures depend: the machine, its load, versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sandbox import process_stats

_LIBRARIES = ("aiortc", "aioice", "av", "numpy", "onnxruntime", "pylibsrtp", "soxr", "websockets")
_PROBE_S = 1.0


def service_facts() -> dict[str, Any]:
    """Of benchmarks of the whole service. `commit` has a `+` where the working tree differs from it."""
    return {
        "cpu": processor(),
        "memory_mb": _number_in("/proc/meminfo", kilobytes=True),
        **_always(),
        "commit": commit() + ("+" if uncommitted_changes() else ""),
        "descriptor_limit": os.sysconf("SC_OPEN_MAX"),
        "udp_buffer_bytes": _number_in("/proc/sys/net/core/rmem_default"),
    }


def media_facts() -> dict[str, Any]:
    """Of benchmarks of the receive path. Asked before a measurement: it looks for a second at how busy the machine is."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": processor(),
        **_always(),
        "free_cores": free_cores(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "commit": commit(),
        "uncommitted_changes": uncommitted_changes(),
    }


def _always() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def processor() -> str:
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return cpu[1] if cpu else platform.machine()


def free_cores() -> float:
    """Cores' worth of CPU that nobody used during the last second."""
    (_, before), began = process_stats.cores_seconds(), time.monotonic()
    time.sleep(_PROBE_S)
    _, after = process_stats.cores_seconds()
    return round((after - before) / (time.monotonic() - began), 2)


def commit() -> str:
    """Empty where this is no clone, or git is not installed."""
    return _git("rev-parse", "--short=12", "HEAD")


def uncommitted_changes() -> bool:
    return bool(_git("status", "--porcelain", "--untracked-files=no"))


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    except OSError:
        return ""
    return done.stdout.strip()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _number_in(path: str, *, kilobytes: bool = False) -> int | None:
    """The first one; in MB with `kilobytes`. None if it is unknown."""
    try:
        found = re.search(r"\d+", Path(path).read_text(encoding="utf-8"))
    except OSError:
        return None
    return int(found[0]) // (1024 if kilobytes else 1) if found else None

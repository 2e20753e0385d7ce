# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What figures depend on: the machine, how busy it was, versions."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.media import proc

_LIBRARIES = ("aiortc", "aioice", "av", "numpy", "onnxruntime", "pylibsrtp", "soxr", "websockets")
_PROBE_S = 1.0


def free_cores() -> float:
    """Cores' worth of CPU that nobody used during the last second."""
    before, began = proc.idle_seconds(), time.monotonic()
    time.sleep(_PROBE_S)
    return round((proc.idle_seconds() - before) / (time.monotonic() - began), 2)


def facts() -> dict[str, Any]:
    """Asked before a measurement: it looks for a second at how busy the machine is."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "free_cores": free_cores(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str:
    """Nothing where this is no clone, or git is not installed."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()

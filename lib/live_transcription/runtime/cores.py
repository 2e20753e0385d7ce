# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The CPU cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

#: Where systemd, Docker, containerd and Podman mount the control groups of version 2, and the CPU controller of version 1.
_MOUNT_V2 = "sys/fs/cgroup"
_MOUNT_V1 = "sys/fs/cgroup/cpu"


def available_cores(root: Path = Path("/")) -> int:
    """The cores of the process's affinity, or fewer if the CPU quota of its control group or of one above it is smaller.

    A part of a core counts as one. Never raises.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Quotas in cores of the groups from that of this process up to the root."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        parts = [part for part in path.split("/") if part]
        if ".." in parts:  # outside the container's own namespace
            parts = []
        if not controllers:
            mount, files = _MOUNT_V2, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            mount, files = _MOUNT_V1, ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        for depth in range(len(parts), -1, -1):
            folder = root.joinpath(mount, *parts[:depth])
            fields = " ".join(_text(folder / name) for name in files).split()
            if len(fields) == 2 and all(field.isascii() and field.isdigit() and int(field) for field in fields):
                yield int(fields[0]) / int(fields[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except (OSError, ValueError):  # ValueError: the path holds a NUL
        return ""

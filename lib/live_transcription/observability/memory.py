# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""How much memory this process takes."""

from __future__ import annotations

import os
from pathlib import Path


def resident_memory() -> int:
    """Bytes of this process in memory; 0 where the system does not tell (not Linux)."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Finds the installed parts of the rig (`scripts/install_rig.sh`), or says what is missing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RIG_DIRECTORY = ROOT / "build" / "rig"
LOOPBACK_SHIM = RIG_DIRECTORY / "loopback_shim.so"

#: Series of the HPB that the rig can run.
HPB_SERIES = ("1.2", "2.0", "2.1")


class RigUnavailable(Exception):
    """Something is not installed; the message says what, and how to get it."""


@dataclass(frozen=True, slots=True)
class HpbBuild:
    series: str
    version: str
    program: Path


def hpb_build(series: str = "2.0") -> HpbBuild:
    """Raises RigUnavailable."""
    home = RIG_DIRECTORY / f"hpb-{series}"
    program = home / "server"
    if not program.exists():
        option = " --with-2.1" if series == "2.1" else ""
        raise RigUnavailable(f"HPB {series} is not installed: scripts/install_rig.sh{option} (Debian 12, root)")
    return HpbBuild(series, (home / "version").read_text(encoding="utf-8").strip(), program)


def janus_program() -> Path:
    """Raises RigUnavailable."""
    found = shutil.which("janus")
    if found is None:
        raise RigUnavailable("Janus is not installed: scripts/install_rig.sh (Debian 12, root)")
    if not LOOPBACK_SHIM.exists():
        raise RigUnavailable("the loopback shim is not compiled: scripts/install_rig.sh (needs a C compiler)")
    return Path(found)


def turn_program() -> Path:
    """Raises RigUnavailable."""
    found = shutil.which("turnserver")
    if found is None:
        raise RigUnavailable("coturn is not installed: scripts/install_rig.sh (Debian 12, root)")
    return Path(found)


def janus_modules(kind: str) -> Path:
    """The folder that Debian's package has its `plugins` or `transports` in. Raises RigUnavailable."""
    for library in Path("/usr/lib").glob(f"*/janus/{kind}"):
        return library
    raise RigUnavailable(f"Janus has no {kind} folder below /usr/lib")

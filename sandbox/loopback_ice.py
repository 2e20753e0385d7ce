# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Let ICE use 127.0.0.1 (or the address in `SANDBOX_ICE_ADDRESS`, such as ::1), in sandbox processes only.

aioice leaves 127.0.0.1 out when it gathers host candidates, as a browser does, so a machine without another interface (a
container without network) could hold no call with itself. `install()` patches this process; a child process that knows
nothing of the sandbox (the ExApp) is patched by `sandbox/loopback/sitecustomize.py`, which Python imports at start when
`child_environment()` put its directory on PYTHONPATH. The product itself never does this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import aioice.ice

#: Names the one address that host candidates are made of: fast, and nothing leaves the machine.
VARIABLE = "SANDBOX_ICE_ADDRESS"


def loopback_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    address = os.environ.get(VARIABLE, "127.0.0.1")
    return [address] if (use_ipv6 if ":" in address else use_ipv4) else []


def install() -> None:
    """Gather 127.0.0.1, and only it, in this process from now on. Harmless when called again."""
    aioice.ice.get_host_addresses = loopback_addresses


def child_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """A copy of `environment` (default: this process's) whose Python children gather 127.0.0.1 too."""
    result = dict(os.environ if environment is None else environment)
    directory = str(Path(__file__).parent / "loopback")
    paths = [path for path in result.get("PYTHONPATH", "").split(os.pathsep) if path and path != directory]
    result["PYTHONPATH"] = os.pathsep.join([directory, *paths])
    return result

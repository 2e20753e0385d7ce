# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Media on 127.0.0.1: aioice leaves that address out when it gathers candidates, and the sandbox has no other."""

from __future__ import annotations

import aioice.ice


def _loopback_only(use_ipv4: bool, use_ipv6: bool) -> list[str]:  # noqa: ARG001  (aioice's own signature)
    return ["127.0.0.1"] if use_ipv4 else []


def gather_on_loopback() -> None:
    """For this whole process; other processes get it by `sandbox.rig.loopback_environment()`."""
    aioice.ice.get_host_addresses = _loopback_only

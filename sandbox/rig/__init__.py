# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A real HPB and Janus on loopback, as packaged, with ways to break them."""

from sandbox.rig.app import AppProcess, Usage
from sandbox.rig.installed import HPB_SERIES, RigUnavailable, hpb_build, janus_program
from sandbox.rig.link import Link
from sandbox.rig.process import ServerFailed, ServerProcess
from sandbox.rig.rig import Rig

__all__ = [
    "HPB_SERIES",
    "AppProcess",
    "Link",
    "Rig",
    "RigUnavailable",
    "ServerFailed",
    "ServerProcess",
    "Usage",
    "hpb_build",
    "janus_program",
]

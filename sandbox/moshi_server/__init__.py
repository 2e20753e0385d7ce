# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The real moshi-server on the CPU, with handmade weights whose words are known (`make moshi`)."""

from sandbox.moshi_server.installed import MoshiUnavailable, cargo, moshi_program, weights_directory
from sandbox.moshi_server.server import MoshiServer

__all__ = ["MoshiServer", "MoshiUnavailable", "cargo", "moshi_program", "weights_directory"]

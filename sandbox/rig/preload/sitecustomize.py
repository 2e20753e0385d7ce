# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""On PYTHONPATH of a process that has to reach Janus on 127.0.0.1, which aioice leaves out when it gathers candidates."""

try:
    import aioice.ice
except ImportError:
    pass
else:
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"] if use_ipv4 else []  # noqa: ARG005

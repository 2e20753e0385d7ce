# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Where servers of the sandbox and the tests listen."""

from __future__ import annotations

import argparse
import socket


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_argument(text: str) -> int:
    """The value of a `--port` option; 0 stands for a free port. For argparse."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port. Give a number from 1 to 65535, or 0 for a free port.")
    return int(text)


def has_ipv6() -> bool:
    """Whether a socket can be had at ::1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True

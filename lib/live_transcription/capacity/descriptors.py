# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""File descriptors of this process: their limit, how many are in use, and how the limit is shared out."""

from __future__ import annotations

import errno
import os
import resource
from dataclasses import dataclass

#: The limit is never raised above this. The system may allow a thousand times as many, and tables grow with the limit.
_MOST = 1 << 20
#: Smallest and largest number of HTTP connections at once; in between an eighth of the limit.
_HTTP = (16, 256)
#: Reserve for reconnections, files and name servers: a sixteenth of the limit, within these bounds.
_SPARE = (16, 128)


@dataclass(frozen=True, slots=True)
class DescriptorReading:
    """`used` of `limit` descriptors are in use; `limit` None: no limit is known."""

    used: int
    limit: int | None


def http_connections(limit: int | None) -> int:
    """How many HTTP connections may be open at once under this limit of descriptors."""
    smallest, largest = _HTTP
    return largest if limit is None else max(smallest, min(largest, limit // 8))


def reserve(limit: int) -> int:
    """Number of descriptors that calls and speakers leave free: for HTTP connections, and some spare ones."""
    smallest, largest = _SPARE
    return http_connections(limit) + max(smallest, min(largest, limit // 16))


def raise_limit() -> int | None:
    """Raise this process's soft limit of descriptors to the hard one. Returns the new limit; None if there is none.

    systemd's soft limit is 1,024, because select(2) can do no more; asyncio uses epoll(7).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # the system allows less than its hard limit says
            return soft
        return wanted
    return None if soft == resource.RLIM_INFINITY else soft


def read_descriptors() -> DescriptorReading:
    """Count this process's descriptors. If there is none left to count them with, all count as used."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return DescriptorReading(0, None)
    try:
        # Since Linux 6.2, st_size is the number of open descriptors. stat(2) needs no descriptor and is always fast.
        used = os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")) - 1
        return DescriptorReading(used, soft)
    except OSError as error:
        return DescriptorReading(soft, soft) if error.errno in (errno.EMFILE, errno.ENFILE) else DescriptorReading(0, None)

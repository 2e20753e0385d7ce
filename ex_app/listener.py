# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The listening sockets: a TCP port, or the unix socket of HaRP's tunnel.

When descriptors run out, asyncio (Python 3.11) calls `accept` as many times as the backlog is long, logs each failure, and
repeats that after a second. With a backlog of 2,048 that is 2 MB of log per second. These sockets fail once, then pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

from ex_app.identity import Listen
from live_transcription.observability.log_limit import LogLimit

logger = logging.getLogger(__name__)

#: Connections waiting to be accepted; AppAPI opens a few at a time.
BACKLOG = 64
#: Seconds after a failure for which `accept` returns nothing. asyncio listens again after one second.
PAUSE_S = 0.5
#: The machine does not have this address or has no IPv6; a name may have another address.
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class AcceptShortage(OSError):
    """No descriptor or memory for another connection."""


class ListeningSocket(socket.socket):
    """Raises `AcceptShortage` once per shortage and pause, and BlockingIOError in between, which ends asyncio's loop."""

    _resumes_at = 0.0

    def accept(self) -> tuple[socket.socket, Any]:
        if time.monotonic() < self._resumes_at:
            raise BlockingIOError(errno.EAGAIN, "paused after a shortage")
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise
            self._resumes_at = time.monotonic() + PAUSE_S
            raise AcceptShortage(error.errno, error.strerror) from None


def listening_sockets(listen: Listen) -> list[socket.socket]:
    """Sockets that are bound and not yet listening: one for each address of the host's name that this machine has.

    Raises OSError if one of the addresses is in use, or if this machine has none of them.
    """
    if listen.unix_socket is not None:
        return [_unix_socket(listen.unix_socket)]
    found = socket.getaddrinfo(listen.host or None, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    missing: OSError | None = None
    with contextlib.ExitStack() as bound:
        sockets: list[socket.socket] = []
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(bound.enter_context(_tcp_socket(family, address)))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
        if not sockets and missing is not None:
            raise missing
        bound.pop_all()
        return sockets


def log_shortages(loop: asyncio.AbstractEventLoop) -> None:
    """Make the loop log an `AcceptShortage` as one plain line per minute; everything else is logged as before."""
    limit = LogLimit(60.0, time.monotonic)

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        failure = context.get("exception")
        if not isinstance(failure, AcceptShortage):
            loop.default_exception_handler(context)
        elif (left_out := limit.permit()) is not None:
            logger.error(
                "New HTTP connections cannot be accepted at the moment: %s. Running calls continue. If this lasts, raise the "
                "limit of open files (ulimit -n).",
                failure.strerror,
                extra={"left_out": left_out},
            )

    loop.set_exception_handler(handle)


def _tcp_socket(family: int, address: Any) -> socket.socket:
    with contextlib.ExitStack() as failed:
        made = failed.enter_context(ListeningSocket(family, socket.SOCK_STREAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        failed.pop_all()
        return made


def _unix_socket(path: Path) -> socket.socket:
    """Replace a socket that a killed process left behind. The tunnel may run as another user, so any user may connect."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    with contextlib.ExitStack() as failed:
        made = failed.enter_context(ListeningSocket(socket.AF_UNIX, socket.SOCK_STREAM))
        made.bind(str(path))
        os.chmod(path, 0o666)  # noqa: S103  requests are authenticated
        failed.pop_all()
        return made

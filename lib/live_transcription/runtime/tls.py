# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The TLS context of every client connection."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading

_Trust = tuple[tuple[str, int], ...]
_contexts: dict[bool, tuple[_Trust, ssl.SSLContext]] = {}
_making = threading.Lock()


async def client_context(*, verify: bool) -> ssl.SSLContext:
    """The context that all connections share. It trusts the system's authorities; `verify=False` accepts any certificate.

    A thread makes it, since reading the certificates takes tens of milliseconds. It is made again when the system's file of
    trusted certificates has changed, so an authority that is added while the app runs is trusted from the next connection on.
    """
    trust = _trust()
    known = _contexts.get(verify)
    if known is not None and known[0] == trust:
        return known[1]
    return await asyncio.to_thread(_make, verify, trust)


def _make(verify: bool, trust: _Trust) -> ssl.SSLContext:
    with _making:
        known = _contexts.get(verify)
        if known is not None and known[0] == trust:
            return known[1]
        context = ssl.create_default_context()
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if context.cert_store_stats()["x509"] or not _has_file(trust):
            _contexts[verify] = trust, context
        return context


def _has_file(trust: _Trust) -> bool:
    """Whether there is a file of certificates. OpenSSL reports no error if it cannot read the file."""
    return any(os.path.isfile(path) for path, _ in trust)


def _trust() -> _Trust:
    """The files from which OpenSSL reads trusted certificates, and when they were last changed."""
    paths = ssl.get_default_verify_paths()
    found: list[tuple[str, int]] = []
    for path in (paths.cafile, paths.capath):
        if path is not None:
            try:
                found.append((path, os.stat(path).st_mtime_ns))
            except OSError:
                continue
    return tuple(found)

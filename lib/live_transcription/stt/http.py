# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One GET to a speech-to-text server, over plain HTTP instead of a websocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import httpx

from live_transcription.runtime.tls import client_context
from live_transcription.stt.kyutai.handshake import opening_error, status_error


class Server(Protocol):
    """A server's address and credentials, implemented in `config`. `headers()` contains the credentials in plain text.

    `certificate_fix`: another remedy for an untrusted certificate than a trusted one; "" if there is none.
    """

    @property
    def stream_url(self) -> str: ...

    @property
    def open_timeout_s(self) -> float: ...

    @property
    def verify_certificates(self) -> bool: ...

    @property
    def certificate_fix(self) -> str: ...

    def headers(self) -> dict[str, str]: ...


@asynccontextmanager
async def get(server: Server, url: str, service: str) -> AsyncIterator[httpx.Response]:
    """A successful answer, whose body is still to be read. Raises SttError (see `handshake`), also while the body is read."""
    try:
        context = await client_context(verify=server.verify_certificates)
        async with (
            httpx.AsyncClient(timeout=server.open_timeout_s, verify=context, follow_redirects=False) as client,
            client.stream("GET", url, headers=server.headers()) as response,
        ):
            location = response.headers.get("Location", "")
            if (error := status_error(response.status_code, service, url=url, location=location)) is not None:
                raise error
            yield response
    except (httpx.HTTPError, OSError) as failure:
        raise opening_error(failure, service, url=url, certificate_fix=server.certificate_fix) from None

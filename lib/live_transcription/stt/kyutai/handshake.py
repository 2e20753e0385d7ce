# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Opening connections to a speech-to-text server, by websocket or plain HTTP, and the errors behind failures.

| observation | error | retry |
|---|---|---|
| 401, 403, 404, 410 | SttRefused: wrong credentials or address | never |
| 3xx to the same address, 502 to 504, no answer in time | SttStarting: a container starts | soon, without a limit |
| any other 3xx | SttRedirected: another address | with backoff |
| 429 | SttAtCapacity | with backoff |
| a certificate that is not trusted | SttUntrusted | with backoff |
| other 4xx, 5xx, not HTTP, DNS, TCP, TLS | SttUnavailable, SttProtocolError | with backoff |

Redirects are never followed. Modal redirects a request that has waited too long for a container to the same address.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import httpx
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from live_transcription.config import ModalConfig, MoshiConfig
from live_transcription.errors import (
    SttAtCapacity,
    SttError,
    SttProtocolError,
    SttRedirected,
    SttRefused,
    SttStarting,
    SttUnavailable,
    SttUntrusted,
)
from live_transcription.runtime.hosts import is_loopback
from live_transcription.runtime.redirects import RefusingConnect, redirect_of
from live_transcription.runtime.tls import client_context
from live_transcription.stt.sockets import sockets
from live_transcription.texts import Text, join

#: Maximum size in bytes of a message from a server. The connection is closed at a larger one (close code 1009).
MESSAGE_LIMIT = 2 * 1024 * 1024
#: Number of replies that wait for the reader before TCP slows the server down.
REPLY_QUEUE = 32
#: Seconds to close a connection, whatever the server does. The closing handshake alone has no limit while the server takes no
#: data, since the close frame waits behind the audio.
_CLOSE_S = 1.0
#: Seconds between two pings. moshi-server stops reading a session from which nothing has come for 20 s.
_PING_S = 10.0
#: Size of the socket's send buffer in bytes, which Linux doubles for its own needs. It holds two seconds of audio, enough for a
#: replay at four times real time over a round trip of a third of a second.
_SEND_BUFFER = 128 * 1024

#: A server's address and credentials.
Server: TypeAlias = ModalConfig | MoshiConfig

_TRUST = Text("Serve the whole certificate chain, or install its authority where this app runs.")
_WAIT = Text("If it was idle, wait a moment. Otherwise check the server's log.")

# The library logs headers, including credentials, at debug level, so that level is never enabled.
_wire_logger = logging.getLogger(f"{__name__}.wire")
_wire_logger.setLevel(logging.WARNING)


@asynccontextmanager
async def open_websocket(server: Server, service: str) -> AsyncIterator[ClientConnection]:
    """Open a websocket without compression, counted as an open (and therefore billed) socket until the block ends.

    `service` names the server in error messages. Leaving the block gives the server a second to close, or no time if the
    task is cancelled. Proxies are taken from the environment, except for servers on this machine. Raises SttError.
    """
    url = server.stream_url
    try:
        connection = await RefusingConnect(
            url,
            additional_headers=server.headers(),
            compression=None,
            open_timeout=server.open_timeout_s,
            close_timeout=_CLOSE_S,
            max_size=MESSAGE_LIMIT,
            max_queue=REPLY_QUEUE,
            ping_interval=_PING_S,
            ping_timeout=20,
            proxy=None if is_loopback(url) else True,
            ssl=await client_context(verify=server.verify_certificates) if url.startswith("wss:") else None,
            logger=_wire_logger,
        )
    except (OSError, EOFError, WebSocketException) as error:
        raise opening_error(error, service, url=url, certificate_fix=server.certificate_fix) from None
    if (transport_socket := connection.transport.get_extra_info("socket")) is not None:
        transport_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    with sockets.billed():
        try:
            yield connection
        except asyncio.CancelledError:
            # Nobody waits for the closing handshake any more, least of all with a server that hangs.
            connection.transport.abort()
            raise
        finally:
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await connection.close()
            except TimeoutError:
                connection.transport.abort()


@asynccontextmanager
async def open_response(server: Server, url: str, service: str) -> AsyncIterator[httpx.Response]:
    """Send a GET request and return the successful response, whose body is still to be read.

    Raises SttError, also while the block reads the body.
    """
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


def status_error(status: int, service: str, *, url: str = "", location: str = "") -> SttError | None:
    """The error behind an HTTP status, or None for success (2xx, and 101 of an upgrade).

    `url` is the requested address, `location` the response's header of that name.
    """
    if status == 101 or 200 <= status < 300:
        return None
    values = {"service": service, "status": str(status)}
    if status in (401, 403):
        return SttRefused("{service} refused the credentials (HTTP {status}).", fix="Check the key and the secret.", **values)
    if status in (404, 410):
        return SttRefused(
            "{service} does not know this address (HTTP {status}).",
            fix="Check the address and that the app is deployed.",
            **values,
        )
    if status == 429:
        return SttAtCapacity(
            "{service} has too many sessions (HTTP {status}).", fix="Allow more containers or sessions.", **values
        )
    redirect = redirect_of(url, status, location)
    if redirect is not None and not redirect.to_itself:
        message, fix = redirect.describe(service)
        return SttRedirected(message, fix=fix)
    if redirect is not None or status in (502, 503, 504):
        return SttStarting("{service} is still starting (HTTP {status}).", fix=_WAIT, **values)
    if status >= 500:
        return SttUnavailable("{service} failed (HTTP {status}).", fix="Check the server's log.", **values)
    return SttProtocolError(
        "{service} rejects the request (HTTP {status}).", fix="Check the address and the version.", **values
    )


def opening_error(error: Exception, service: str, *, url: str = "", certificate_fix: str = "") -> SttError:
    """The error behind a failed websocket handshake or HTTP request. It contains nothing from headers or bodies.

    `url` is the requested address, `certificate_fix` a remedy for an untrusted certificate other than a trusted one.
    An exception of another kind is raised again.
    """
    if isinstance(error, SttError):
        return error
    if isinstance(error, InvalidStatus):
        location = next(iter(error.response.headers.get_all("Location")), "")
        refusal = status_error(error.response.status_code, service, url=url, location=location)
        return refusal or SttProtocolError(
            "{service} does not accept websockets at this address.", fix="Check the address.", service=service
        )
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return SttStarting("{service} did not answer in time.", fix=_WAIT, service=service)
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SttUntrusted(
            "{service} has a certificate that this system does not trust.",
            fix=join(_TRUST, Text(certificate_fix)),
            service=service,
        )
    if isinstance(error, InvalidHandshake) and not isinstance(error, OSError) and error.__cause__ is None:
        return SttProtocolError(
            "{service} does not accept websockets at this address ({reason}).",
            fix="Check the address.",
            service=service,
            reason=type(error).__name__,
        )
    if isinstance(error, (OSError, EOFError, WebSocketException, httpx.TransportError)):
        return SttUnavailable(
            "{service} cannot be reached ({reason}).",
            fix="Check the address, DNS, firewall and proxy, and that the server is up.",
            service=service,
            reason=type(error).__name__,
        )
    raise error

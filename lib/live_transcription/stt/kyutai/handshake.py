# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Why a speech-to-text server could not be reached: one table for websocket handshakes and plain HTTP.

| seen | error | tried again |
|---|---|---|
| 401, 403, 404, 410 | SttRefused: wrong credentials or address | never |
| 3xx to the same address, 502 to 504, no answer in time | SttStarting: a container starts | soon, for as long as it takes |
| any other 3xx | SttRedirected: another address | with backoff |
| 429 | SttAtCapacity | with backoff |
| a certificate that is not trusted | SttUntrusted | with backoff |
| other 4xx, 5xx, not HTTP, DNS, TCP, TLS | SttUnavailable, SttProtocolError | with backoff |

A redirect is never followed. Modal answers a request that waits too long for a container with a redirect to the same address.
"""

from __future__ import annotations

import ssl

import httpx
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from live_transcription.errors import (
    SttAtCapacity,
    SttError,
    SttProtocolError,
    SttRedirected,
    SttRefused,
    SttStalled,
    SttStarting,
    SttUnavailable,
    SttUntrusted,
)
from live_transcription.runtime.redirects import redirect_of

__all__ = ["SttStalled", "SttStarting", "opening_error", "status_error"]

_TRUST = "Serve the whole certificate chain, or install its authority where this app runs."
_WAIT = "If it was idle, wait a moment. Otherwise check the server's log."


def status_error(status: int, service: str, *, url: str = "", location: str = "") -> SttError | None:
    """The error behind an HTTP status; None for success (2xx, and 101 of an upgrade).

    `url`: the requested address. `location`: the answer's header of that name.
    """
    if status == 101 or 200 <= status < 300:
        return None
    if status in (401, 403):
        return SttRefused(f"{service} refused the credentials (HTTP {status}).", fix="Check the key and the secret.")
    if status in (404, 410):
        return SttRefused(
            f"{service} does not know this address (HTTP {status}).", fix="Check the address and that the app is deployed."
        )
    if status == 429:
        return SttAtCapacity(f"{service} has too many sessions (HTTP 429).", fix="Allow more containers or sessions.")
    redirect = redirect_of(url, status, location)
    if redirect is not None and not redirect.to_itself:
        message, fix = redirect.describe(service)
        return SttRedirected(message, fix=fix)
    if redirect is not None or status in (502, 503, 504):
        return SttStarting(f"{service} is still starting (HTTP {status}).", fix=_WAIT)
    if status >= 500:
        return SttUnavailable(f"{service} failed (HTTP {status}).", fix="Check the server's log.")
    return SttProtocolError(f"{service} rejects the request (HTTP {status}).", fix="Check the address and the version.")


def opening_error(error: Exception, service: str, *, url: str = "", certificate_fix: str = "") -> SttError:
    """The error behind a failed websocket handshake or HTTP request. Contains nothing of headers and bodies.

    `url`: the requested address. `certificate_fix`: another remedy for an untrusted certificate than a trusted one.
    """
    if isinstance(error, SttError):
        return error
    if isinstance(error, InvalidStatus):
        location = next(iter(error.response.headers.get_all("Location")), "")
        refusal = status_error(error.response.status_code, service, url=url, location=location)
        return refusal or SttProtocolError(f"{service} has no websocket there.", fix="Check the address.")
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return SttStarting(f"{service} gave no answer in time.", fix=_WAIT)
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SttUntrusted(
            f"The certificate of {service} is not trusted by this system.",
            fix=" ".join(filter(None, (_TRUST, certificate_fix))),
        )
    if isinstance(error, InvalidHandshake) and not isinstance(error, OSError) and error.__cause__ is None:
        return SttProtocolError(f"{service} has no websocket there ({type(error).__name__}).", fix="Check the address.")
    if isinstance(error, (OSError, EOFError, WebSocketException, httpx.TransportError)):
        return SttUnavailable(
            f"{service} cannot be reached ({type(error).__name__}).",
            fix="Check the address, DNS, firewall and proxy, and that the server is up.",
        )
    raise error

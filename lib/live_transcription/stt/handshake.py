# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Why a speech-to-text server could not be reached: one table for websocket handshakes and plain HTTP. Pure.

| seen | error | tried again |
|---|---|---|
| 401, 403, 404, 410 | SttRefused: wrong credentials or address | never |
| 3xx, 502, 503, 504, no answer in time | SttStarting: a container wakes up | soon, for as long as it takes |
| 429 | SttAtCapacity | with backoff |
| other 4xx, 5xx, not HTTP, DNS, TCP, TLS | SttUnavailable, SttProtocolError | with backoff |
"""

from __future__ import annotations

import ssl

import httpx
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from live_transcription.errors import SttAtCapacity, SttError, SttProtocolError, SttRefused, SttUnavailable

_WAIT = "Nothing to do if it has just been idle; otherwise look into the server's log."


class SttStarting(SttUnavailable):
    """The server is waking up; the same request will do in a moment."""

    code = "stt_starting"


class SttStalled(SttUnavailable):
    """The server keeps the connection and takes audio, but nothing comes back."""

    code = "stt_stalled"


def status_error(status: int, service: str) -> SttError | None:
    """The error behind an HTTP status; None for success (2xx, and 101 of an upgrade)."""
    if status == 101 or 200 <= status < 300:
        return None
    if status in (401, 403):
        return SttRefused(f"{service} refused the credentials (HTTP {status}).", fix="Check the key and the secret.")
    if status in (404, 410):
        return SttRefused(
            f"{service} knows no such address (HTTP {status}).", fix="Check the address and that the app is deployed."
        )
    if status == 429:
        return SttAtCapacity(f"{service} has too many sessions (HTTP 429).", fix="Allow more containers or sessions.")
    if 300 <= status < 400 or status in (502, 503, 504):
        return SttStarting(f"{service} is still starting (HTTP {status}).", fix=_WAIT)
    if status >= 500:
        return SttUnavailable(f"{service} failed (HTTP {status}).", fix="Look into the server's log.")
    return SttProtocolError(f"{service} does not take our request (HTTP {status}).", fix="Check the address and the version.")


def opening_error(error: Exception, service: str) -> SttError:
    """The error behind a failed websocket handshake or HTTP request. Holds nothing of headers and bodies."""
    if isinstance(error, SttError):
        return error
    if isinstance(error, InvalidStatus):
        refusal = status_error(error.response.status_code, service)
        return refusal or SttProtocolError(f"{service} speaks no websocket here.", fix="Check the address.")
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return SttStarting(f"{service} gave no answer in time.", fix=_WAIT)
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SttUnavailable(
            f"{service} shows a certificate that this system does not trust.",
            fix="Install its authority's certificate, or switch the certificate check off.",
        )
    if isinstance(error, InvalidHandshake) and not isinstance(error, OSError) and error.__cause__ is None:
        return SttProtocolError(f"{service} speaks no websocket here ({type(error).__name__}).", fix="Check the address.")
    if isinstance(error, (OSError, EOFError, WebSocketException, httpx.TransportError)):
        return SttUnavailable(
            f"{service} cannot be reached ({type(error).__name__}).",
            fix="Check the address, DNS, firewall and proxy, and that the server is up.",
        )
    raise error

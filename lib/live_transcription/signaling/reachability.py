# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Why the HPB's websocket could not be opened, or broke, in words for an administrator. Names the host, never credentials."""

from __future__ import annotations

import socket
import ssl

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from live_transcription.errors import SignalingRedirected, SignalingUnreachable
from live_transcription.runtime.hosts import host_of
from live_transcription.runtime.redirects import redirect_of

_GATEWAY_ERRORS = frozenset({502, 503, 504})


def unreachable(error: Exception, url: str) -> SignalingUnreachable:
    """The error for one failed attempt to open a websocket at `url`."""
    host = host_of(url)
    if isinstance(error, InvalidStatus):
        location = next(iter(error.response.headers.get_all("Location")), "")
        if (redirect := redirect_of(url, error.response.status_code, location)) is not None:
            message, fix = redirect.describe(f"The server at {host}")
            return SignalingRedirected(message, fix=fix)
    backend = f"the high-performance backend at {host}"
    match error:
        case ssl.SSLCertVerificationError():
            message = f"The certificate of {backend} is not trusted ({error.verify_message})."
            fix = (
                "Serve the whole certificate chain, or install its authority where this app runs. On a test system you can "
                "switch on “Accept any certificate of the high-performance backend”."
            )
        case ssl.SSLError():
            message = f"TLS with {backend} failed ({error.reason or 'no reason given'})."
            fix = "Check that LT_HPB_URL names the port that speaks TLS, or use ws:// where it does not."
        case socket.gaierror():
            message = f"The name of {backend} cannot be resolved."
            fix = "Check LT_HPB_URL and the DNS of the machine that runs this app."
        case TimeoutError():
            message = f"No answer from {backend}."
            fix = "Check LT_HPB_URL, and that no firewall is between this app and the backend."
        case ProxyError() | InvalidProxy() | ImportError():
            message = f"The proxy on the way to {backend} does not work."
            fix = "Check the environment variables https_proxy and no_proxy."
        case InvalidStatus() if error.response.status_code in _GATEWAY_ERRORS:
            message = f"The web server in front of {backend} answers {error.response.status_code}: the backend is not running."
            fix = "Start the backend, or correct the proxy rule of the web server."
        case InvalidStatus():
            message = f"The server at {host} answers {error.response.status_code} instead of opening a websocket."
            fix = "Check the path in LT_HPB_URL (often /standalone-signaling), and that the web server passes websockets on."
        case InvalidMessage(__cause__=EOFError()) | ConnectionResetError() | BrokenPipeError():
            message = f"{host} took the connection and closed it without an answer."
            fix = "Check that the backend is running behind its proxy, and that LT_HPB_URL names its host and port."
        case InvalidMessage() | InvalidHandshake() | InvalidURI():
            message = f"The server at {host} does not speak the websocket protocol."
            fix = "Check LT_HPB_URL."
        case ConnectionRefusedError():
            message = f"Nothing listens for {backend}."
            fix = "Check that the backend is running, and the host and port in LT_HPB_URL."
        case _:
            message = f"No connection to {backend} ({_system_reason(error)})."
            fix = "Check LT_HPB_URL, and that the backend is running."
    return SignalingUnreachable(message, fix=fix)


def _system_reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.errno is not None and error.strerror else "network error"


def closing_reason(closed: ConnectionClosed) -> str:
    """Why an open websocket ended; the close code only, since the reason is the server's text."""
    if closed.rcvd is None and closed.sent is not None and closed.sent.code == 1011:
        return "the server answers no pings"
    if closed.rcvd is None and closed.sent is not None:
        return f"the websocket was closed by this side ({closed.sent.code})"
    if closed.rcvd is not None:
        return f"the server closed the websocket ({closed.rcvd.code})"
    return "the websocket broke"

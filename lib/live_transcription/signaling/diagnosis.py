# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Explains to administrators why the HPB cannot be reached or refuses the app. The texts name hosts, never credentials."""

from __future__ import annotations

import math
import socket
import ssl

from websockets import exceptions

from live_transcription.errors import SignalingRedirected, SignalingRefused, SignalingUnreachable
from live_transcription.runtime.hosts import host_of
from live_transcription.runtime.redirects import redirect_of
from live_transcription.texts import Text, template

#: The HPB's feature that says that an SFU (Janus) is connected.
FEATURE_SFU = "mcu"
#: Reason of a refusal by this app: the HPB has no SFU.
NO_SFU = "no_sfu"
#: Reason of a refusal by this app: one more failed hello could lock the app out.
TOO_MANY_TRIES = "too_many_tries"
_TOO_OLD_CODES = ("invalid_hello_version", "unsupported-version", "invalid_format")
#: Answers to a hello that the HPB does not count as a failed login.
UNCOUNTED = frozenset({"too_many_requests", TOO_MANY_TRIES, NO_SFU, "invalid_client_type", *_TOO_OLD_CODES})
_GATEWAY_ERRORS = frozenset({502, 503, 504})

_WRONG_SECRET = (
    template("The high-performance backend refused the internal secret."),
    template("Set {LT_INTERNAL_SECRET} to the value of internalsecret in the section [clients] of the backend's server.conf."),
)
_TOO_OLD = (
    template("The high-performance backend does not understand this client: it is too old."),
    template("Update nextcloud-spreed-signaling to version 1.2.4 or newer."),
)
#: Message and remedy by the HPB's error code. `{nextcloud}` is Nextcloud's host.
_REFUSALS = {
    "invalid_token": _WRONG_SECRET,
    "auth_failed": _WRONG_SECRET,
    "auth-failed": _WRONG_SECRET,
    "invalid_backend": (
        template("The high-performance backend does not serve the Nextcloud server {nextcloud}."),
        template("Add this address to a backend in the backend's server.conf, or correct {LT_BACKEND_URL}."),
    ),
    "invalid_client_type": (
        template("The high-performance backend accepts no internal clients."),
        template(
            "Set internalsecret under [clients] in the backend's server.conf, and {LT_INTERNAL_SECRET} to the same value."
        ),
    ),
    "too_many_requests": (
        template("The high-performance backend has locked out this address after too many failed logins."),
        template("Check {LT_INTERNAL_SECRET}, then restart the high-performance backend, or wait for 30 minutes."),
    ),
    **dict.fromkeys(_TOO_OLD_CODES, _TOO_OLD),
}


def hello_refusal(code: str, backend_url: str) -> SignalingRefused | None:
    """The error for the HPB's error `code` as the answer to a hello; None if the next attempt may succeed by itself.

    Only an administrator can change the cause of a refusal. `HelloGuard` keeps trying nevertheless, since the HPB's
    configuration may change without notice.
    """
    if code not in _REFUSALS:
        return None
    message, fix = _REFUSALS[code]
    return SignalingRefused(message, fix=fix, reason=code, nextcloud=host_of(backend_url))


def too_many_tries(seconds: float) -> SignalingRefused:
    """The error while another hello could lock the app out. `seconds` is the time until the next attempt is safe."""
    return SignalingRefused(
        "The high-performance backend has refused the app several times. Another attempt could lock it out for 30 minutes.",
        fix="Correct {LT_INTERNAL_SECRET}. The app tries again in {minutes} minutes.",
        reason=TOO_MANY_TRIES,
        minutes=math.ceil(seconds / 60),
    )


def refused_again(seconds: float) -> SignalingRefused:
    """The error if the same credential has been refused often enough. `seconds`: until it may be tried again."""
    return SignalingRefused(
        "The high-performance backend has refused this internal secret several times.",
        fix="Correct {LT_INTERNAL_SECRET}: another one can be tested at once, this one in {minutes} minutes.",
        reason=TOO_MANY_TRIES,
        minutes=math.ceil(seconds / 60),
    )


def no_sfu() -> SignalingRefused:
    """The error for an HPB without an SFU."""
    return SignalingRefused(
        "The high-performance backend has no media server, so no audio can be received from it.",
        fix="Install Janus and set it in the section [mcu] of the backend's server.conf.",
        reason=NO_SFU,
    )


def unreachable(error: Exception, url: str) -> SignalingUnreachable:
    """The error for a failed attempt to open a websocket at `url`."""
    host = host_of(url)
    if isinstance(error, exceptions.InvalidStatus):
        location = next(iter(error.response.headers.get_all("Location")), "")
        if (redirect := redirect_of(url, error.response.status_code, location)) is not None:
            message, fix = redirect.describe(Text("The server at {host}", host=host))
            return SignalingRedirected(message, fix=fix)
    match error:
        case ssl.SSLCertVerificationError():
            return SignalingUnreachable(
                "The certificate of the high-performance backend at {host} is not trusted ({reason}).",
                fix="Serve the whole certificate chain, or install its authority where this app runs. On a test system you can "
                "switch on {LT_SKIP_CERT_VERIFY}.",
                host=host,
                reason=error.verify_message,
            )
        case ssl.SSLError():
            return SignalingUnreachable(
                "TLS with the high-performance backend at {host} failed ({reason}).",
                fix="Check that {LT_HPB_URL} names the port that speaks TLS, or use ws:// where it does not.",
                host=host,
                reason=error.reason or Text("no reason given"),
            )
        case socket.gaierror():
            return SignalingUnreachable(
                "The name of the high-performance backend at {host} cannot be resolved.",
                fix="Check {LT_HPB_URL} and the DNS of the machine that runs this app.",
                host=host,
            )
        case TimeoutError():
            return SignalingUnreachable(
                "No answer from the high-performance backend at {host}.",
                fix="Check {LT_HPB_URL}, and that no firewall is between this app and the backend.",
                host=host,
            )
        case exceptions.ProxyError() | exceptions.InvalidProxy() | ImportError():
            return SignalingUnreachable(
                "The proxy on the way to the high-performance backend at {host} does not work.",
                fix="Check the environment variables https_proxy and no_proxy.",
                host=host,
            )
        case exceptions.InvalidStatus() if error.response.status_code in _GATEWAY_ERRORS:
            return SignalingUnreachable(
                "The web server in front of the high-performance backend at {host} answers {status}, so the backend is not "
                "running.",
                fix="Start the backend, or correct the proxy rule of the web server.",
                host=host,
                status=str(error.response.status_code),
            )
        case exceptions.InvalidStatus():
            return SignalingUnreachable(
                "The server at {host} answers {status} instead of opening a websocket.",
                fix="Check the path in {LT_HPB_URL} (often /standalone-signaling), and that the web server passes websockets "
                "on.",
                host=host,
                status=str(error.response.status_code),
            )
        case exceptions.InvalidMessage(__cause__=EOFError()) | ConnectionResetError() | BrokenPipeError():
            return SignalingUnreachable(
                "{host} accepted the connection and closed it without an answer.",
                fix="Check that the backend is running behind its proxy, and that {LT_HPB_URL} names its host and port.",
                host=host,
            )
        case exceptions.InvalidMessage() | exceptions.InvalidHandshake() | exceptions.InvalidURI():
            return SignalingUnreachable(
                "The server at {host} does not speak the websocket protocol.", fix="Check {LT_HPB_URL}.", host=host
            )
        case ConnectionRefusedError():
            return SignalingUnreachable(
                "No high-performance backend is listening at {host}.",
                fix="Check that the backend is running, and the host and port in {LT_HPB_URL}.",
                host=host,
            )
        case _:
            return SignalingUnreachable(
                "No connection to the high-performance backend at {host} ({reason}).",
                fix="Check {LT_HPB_URL}, and that the backend is running.",
                host=host,
                reason=_system_reason(error),
            )


def _system_reason(error: Exception) -> str:
    known = isinstance(error, OSError) and error.errno is not None and error.strerror
    return known or Text("network error")


def closing_reason(closed: exceptions.ConnectionClosed) -> Text:
    """Why an open websocket ended. Contains the close code, but not the server's text."""
    if closed.rcvd is not None:
        return Text("the server closed the websocket ({code})", code=str(closed.rcvd.code))
    if closed.sent is None:
        return Text("the websocket broke")
    if closed.sent.code == 1011:
        return Text("the server answers no pings")
    return Text("the websocket was closed by this side ({code})", code=str(closed.sent.code))

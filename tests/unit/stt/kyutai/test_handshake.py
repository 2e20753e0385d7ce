# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import socket
import ssl

import httpx
import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidMessage, InvalidStatus, InvalidUpgrade
from websockets.http11 import Response

from live_transcription.errors import (
    SttAtCapacity,
    SttError,
    SttProtocolError,
    SttRedirected,
    SttRefused,
    SttUnavailable,
    SttUntrusted,
)
from live_transcription.stt.kyutai.handshake import SttStarting, opening_error, status_error

STATUSES = {
    401: SttRefused, 403: SttRefused, 404: SttRefused, 410: SttRefused,
    502: SttStarting, 503: SttStarting, 504: SttStarting,
    429: SttAtCapacity,
    500: SttUnavailable, 501: SttUnavailable,
    400: SttProtocolError, 405: SttProtocolError, 426: SttProtocolError,
}  # fmt: skip


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_each_http_status_has_its_error(status: int, expected: type[SttError]) -> None:
    error = status_error(status, "The server")
    assert type(error) is expected
    assert str(status) in str(error)
    assert error.fix
    refusal = InvalidStatus(Response(status, "", Headers({"x-secret": "hidden"}), b"hidden"))
    assert type(opening_error(refusal, "The server")) is expected
    assert "hidden" not in str(opening_error(refusal, "The server"))


ASKED = "wss://stt.example.com/v1/stream"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "expected", "named"),
    [
        ("https://stt.example.com/v1/stream?__modal_function_call_id=fc-1", SttStarting, "still starting"),
        ("https://stt.example.com:443/v1/stream", SttStarting, "still starting"),
        ("/v1/stream?again", SttStarting, "still starting"),
        (
            "https://user:hidden@elsewhere.example.com/hidden?hidden",
            SttRedirected,
            "redirects to https://elsewhere.example.com.",
        ),
        ("http://stt.example.com/v1/stream", SttRedirected, "redirects to http://stt.example.com."),
        ("https://stt.example.com:8443/v1/stream", SttRedirected, "redirects to https://stt.example.com:8443."),
        ("//elsewhere.example.com/v1/stream", SttRedirected, "redirects to https://elsewhere.example.com."),
        ("/login?hidden", SttRedirected, "redirects to another path"),
        ("", SttRedirected, "no usable address"),
        ("javascript:hidden", SttRedirected, "no usable address"),
        ("https://[hidden", SttRedirected, "no usable address"),
    ],
)
def test_a_redirect_to_the_same_address_is_a_cold_start_and_any_other_is_named(
    status: int, location: str, expected: type[SttError], named: str
) -> None:
    error = status_error(status, "The server", url=ASKED, location=location)
    refusal = InvalidStatus(Response(status, "", Headers({"Location": location} if location else {})))
    for found in (error, opening_error(refusal, "The server", url=ASKED)):
        assert type(found) is expected
        assert named in str(found)
        assert found.fix
        assert found.retryable
        assert "hidden" not in str(found)


def test_success_is_no_error() -> None:
    assert status_error(200, "The server") is None
    assert status_error(101, "The server") is None
    assert isinstance(opening_error(InvalidStatus(Response(200, "OK", Headers())), "The server"), SttProtocolError)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (TimeoutError(), SttStarting),
        (httpx.ReadTimeout("late"), SttStarting),
        (ConnectionRefusedError(), SttUnavailable),
        (ConnectionResetError(), SttUnavailable),
        (socket.gaierror(-2, "unknown"), SttUnavailable),
        (ssl.SSLCertVerificationError(), SttUntrusted),
        (httpx.ConnectError("refused"), SttUnavailable),
        (EOFError(), SttUnavailable),
        (InvalidMessage("did not receive a valid HTTP response"), SttProtocolError),
        (InvalidUpgrade("Upgrade"), SttProtocolError),
        (ConnectionClosedError(None, None), SttUnavailable),
        (SttAtCapacity("full"), SttAtCapacity),
    ],
)
def test_each_failure_has_its_error(failure: Exception, expected: type[SttError]) -> None:
    assert type(opening_error(failure, "The server")) is expected


def test_a_dropped_connection_in_the_handshake_is_not_a_wrong_address() -> None:
    failure = InvalidMessage("did not receive a valid HTTP response")
    failure.__cause__ = EOFError("connection closed while reading HTTP status line")
    assert type(opening_error(failure, "The server")) is SttUnavailable


def test_a_bug_is_not_reported_as_an_error_of_the_server() -> None:
    with pytest.raises(ZeroDivisionError):
        opening_error(ZeroDivisionError(), "The server")

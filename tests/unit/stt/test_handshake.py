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

from live_transcription.errors import SttAtCapacity, SttError, SttProtocolError, SttRefused, SttUnavailable
from live_transcription.stt.handshake import SttStarting, opening_error, status_error

STATUSES = {
    401: SttRefused, 403: SttRefused, 404: SttRefused, 410: SttRefused,
    301: SttStarting, 302: SttStarting, 303: SttStarting, 307: SttStarting, 308: SttStarting,
    502: SttStarting, 503: SttStarting, 504: SttStarting,
    429: SttAtCapacity,
    500: SttUnavailable, 501: SttUnavailable,
    400: SttProtocolError, 405: SttProtocolError, 426: SttProtocolError,
}  # fmt: skip


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_a_status_tells_whether_to_come_back(status: int, expected: type[SttError]) -> None:
    error = status_error(status, "The server")
    assert type(error) is expected
    assert str(status) in str(error)
    assert error.fix
    refusal = InvalidStatus(Response(status, "", Headers({"x-secret": "hidden"}), b"hidden"))
    assert type(opening_error(refusal, "The server")) is expected
    assert "hidden" not in str(opening_error(refusal, "The server"))


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
        (ssl.SSLCertVerificationError(), SttUnavailable),
        (httpx.ConnectError("refused"), SttUnavailable),
        (EOFError(), SttUnavailable),
        (InvalidMessage("did not receive a valid HTTP response"), SttProtocolError),
        (InvalidUpgrade("Upgrade"), SttProtocolError),
        (ConnectionClosedError(None, None), SttUnavailable),
        (SttAtCapacity("full"), SttAtCapacity),
    ],
)
def test_a_failure_tells_whether_to_come_back(failure: Exception, expected: type[SttError]) -> None:
    assert type(opening_error(failure, "The server")) is expected


def test_a_dropped_connection_in_the_handshake_is_not_a_wrong_address() -> None:
    failure = InvalidMessage("did not receive a valid HTTP response")
    failure.__cause__ = EOFError("connection closed while reading HTTP status line")
    assert type(opening_error(failure, "The server")) is SttUnavailable


def test_a_fault_of_ours_is_not_explained_away() -> None:
    with pytest.raises(ZeroDivisionError):
        opening_error(ZeroDivisionError(), "The server")

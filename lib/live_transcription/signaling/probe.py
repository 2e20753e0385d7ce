# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Tests settings of the HPB: says hello and bye, and joins no room."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingProtocolError, SignalingRefused, SignalingUnreachable
from live_transcription.runtime.hosts import host_of
from live_transcription.signaling import requests
from live_transcription.signaling.diagnosis import FEATURE_SFU, closing_reason, hello_refusal, no_sfu, unreachable
from live_transcription.signaling.frames import Bye, ErrorFrame, Hello, Welcome
from live_transcription.signaling.hello_guard import HelloGuard, Wait
from live_transcription.signaling.messages import parse_frame
from live_transcription.signaling.urls import backend_base_url, websocket_url
from live_transcription.signaling.websocket import open_websocket
from live_transcription.status import HpbReport

#: Largest frame accepted in bytes; the answers to a hello have a few hundred.
_MAX_FRAME = 64 * 1024
#: Limit in seconds for the answer to the hello, and for the outcome of a call's hello before it.
_HELLO_S = 40.0


class _Overtaken(Exception):
    """Another hello with this credential was sent while the websocket was opened; its outcome comes first."""


async def probe_hpb(
    config: HpbConfig,
    connected: Callable[[], None],
    *,
    guard: HelloGuard,
    urgent: bool = True,
    open_timeout_s: float = 10.0,
) -> HpbReport:
    """Send a hello with these settings. `connected` is called once the websocket is open, and before the refusal of an earlier
    hello is raised again.

    `guard` is the one that the calls use: it learns the outcome, and refuses a hello that could lock the app out. `urgent`: an
    administrator waits for the outcome (see `HelloGuard.obstacle`). Takes up to a minute and a half, since the HPB deliberately
    delays its answer to a wrong secret. Raises ConfigurationError, SignalingUnreachable, SignalingProtocolError, or
    SignalingRefused.
    """
    url, backend_url = websocket_url(config.url), backend_base_url(config.backend_url)
    opened = False

    def open_once() -> None:
        nonlocal opened
        if not opened:
            connected()
        opened = True

    began_at = _now()
    while True:
        try:
            await _wait_for_other_hello(config, guard, began_at, urgent=urgent)
        except SignalingRefused:
            # The HPB was reached by the hello that it has refused.
            open_once()
            raise
        try:
            async with await open_websocket(config, open_timeout_s=open_timeout_s, max_size=_MAX_FRAME) as websocket:
                open_once()
                return await _probe(websocket, config, backend_url, guard, urgent=urgent)
        except _Overtaken:
            if _now() >= began_at + _HELLO_S:
                raise SignalingUnreachable(
                    "A call is logging in to the high-performance backend at this moment.", fix="Test again in a moment."
                ) from None
        except ConnectionClosed as closed:
            raise SignalingUnreachable(
                "The high-performance backend at {host} closed the connection: {reason}.",
                fix="Check that {LT_HPB_URL} names the signaling server.",
                host=host_of(url),
                reason=closing_reason(closed),
            ) from None
        except (OSError, WebSocketException) as error:
            raise unreachable(error, url) from None


async def _wait_for_other_hello(config: HpbConfig, guard: HelloGuard, began_at: float, *, urgent: bool) -> None:
    """Wait for the outcome while a call or a check tries the same credential.

    Raises SignalingRefused if the HPB has refused the credential since `began_at`, or if a hello is too risky.
    """
    until = began_at + _HELLO_S
    while (wait := guard.obstacle(config, _now(), urgent=urgent)) is not None and _now() < until:
        if wait.until is not None and wait.refusal is not None:
            raise wait.refusal
        await guard.wait(until)
        # The other hello's outcome is that of this one, which would count as a further failure.
        if (refusal := guard.refusal_since(config, began_at)) is not None:
            raise refusal


async def _probe(
    websocket: ClientConnection, config: HpbConfig, backend_url: str, guard: HelloGuard, *, urgent: bool
) -> HpbReport:
    attempt = guard.ask(config, _now(), urgent=urgent)
    if isinstance(attempt, Wait):
        raise attempt.refusal or _Overtaken
    try:
        async with asyncio.timeout(_HELLO_S):
            report = await _hello(websocket, config, backend_url)
        guard.settle(attempt, _now(), accepted=True)
    except SignalingRefused as refusal:
        guard.settle(attempt, _now(), refusal=refusal)
        raise
    finally:
        guard.settle(attempt, _now())  # no outcome, unless one was reported
    if FEATURE_SFU not in report.features:
        raise no_sfu()
    return report


async def _hello(websocket: ClientConnection, config: HpbConfig, backend_url: str) -> HpbReport:
    """Say hello and bye. Raises SignalingRefused, and SignalingProtocolError for anything else than a session."""
    await websocket.send(requests.hello("1", secrets.token_hex(32), config.internal_secret, backend_url))
    welcome = Welcome("", frozenset())
    for _ in range(20):
        message = await websocket.recv()
        match parse_frame(message if isinstance(message, str) else "", ""):
            case Welcome() as welcome:
                continue
            case Hello(session_id=session_id, version=version, features=features) if session_id:
                await websocket.send(requests.bye("2"))
                return HpbReport(version or welcome.version or "?", tuple(sorted(features or welcome.features)))
            case ErrorFrame(code=code) | Bye(reason=code):
                refusal = hello_refusal(code, backend_url)
                raise refusal or SignalingProtocolError(
                    "The high-performance backend answered the hello with the error {code}.", fix="See its log.", code=code
                )
    raise SignalingProtocolError("The server answers, but not as a high-performance backend does.", fix="Check {LT_HPB_URL}.")


def _now() -> float:
    return asyncio.get_running_loop().time()

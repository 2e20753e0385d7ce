# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One hello to the HPB and a goodbye, to see whether it would have us; joins no room."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingProtocolError, SignalingRefused, SignalingUnreachable
from live_transcription.runtime.hosts import host_of, is_loopback
from live_transcription.runtime.redirects import RefusingConnect
from live_transcription.runtime.tls import client_context
from live_transcription.signaling.hello_guard import HelloGuard, Wait, hello_token
from live_transcription.signaling.messages import Bye, ErrorFrame, Hello, Welcome, parse_frame
from live_transcription.signaling.reachability import closing_reason, unreachable
from live_transcription.signaling.refusals import FEATURE_SFU, NO_SFU, hello_refusal, no_sfu
from live_transcription.signaling.urls import backend_base_url, websocket_url
from live_transcription.status import HpbReport

#: Largest frame taken, in bytes; the answers of a hello are a few hundred.
_MAX_FRAME = 64 * 1024
_HELLO_S = 40.0


async def probe_hpb(
    config: HpbConfig, connected: Callable[[], None], *, guard: HelloGuard, open_timeout_s: float = 10.0
) -> HpbReport:
    """Send a hello with these settings. `connected` is called once the websocket is open.

    `guard` is shared with the calls: it gets the outcome, and refuses a hello that could get the app locked out. Takes up to a
    minute, since the HPB deliberately delays its answer to a wrong secret. Raises ConfigurationError, SignalingUnreachable,
    SignalingProtocolError, or SignalingRefused.
    """
    await _wait_for_turn(config, guard)
    url = websocket_url(config.url)
    backend_url = backend_base_url(config.backend_url)
    host = host_of(url)
    try:
        tls = await client_context(verify=config.verify_certificates) if url.startswith("wss:") else None
        async with RefusingConnect(
            url,
            ssl=tls,
            compression=None,
            proxy=None if is_loopback(url) else True,
            user_agent_header="live_transcription",
            open_timeout=open_timeout_s,
            close_timeout=1.0,
            max_size=_MAX_FRAME,
        ) as websocket:
            connected()
            async with asyncio.timeout(_HELLO_S):
                return await _guarded_hello(websocket, config, backend_url, guard)
    except ConnectionClosed as closed:
        raise SignalingUnreachable(
            f"The high-performance backend at {host} closed the connection: {closing_reason(closed)}.",
            fix="Check that LT_HPB_URL names the signaling server.",
        ) from None
    except (OSError, WebSocketException, ImportError) as error:
        raise unreachable(error, url) from None


async def _wait_for_turn(config: HpbConfig, guard: HelloGuard) -> None:
    """Wait for the outcome while a call tries the same credential. Raises SignalingRefused if a hello is too risky."""
    changed = asyncio.Event()
    guard.add_listener(changed.set)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_HELLO_S):
                while (wait := guard.obstacle(config, _now(), urgent=True)) is not None:
                    if wait.until is not None and wait.refusal is not None:
                        raise wait.refusal
                    changed.clear()
                    await changed.wait()
    finally:
        guard.remove_listener(changed.set)


async def _guarded_hello(websocket: ClientConnection, config: HpbConfig, backend_url: str, guard: HelloGuard) -> HpbReport:
    attempt = guard.ask(config, _now(), urgent=True)
    if isinstance(attempt, Wait):
        raise attempt.refusal or SignalingUnreachable(
            "A call is logging in to the high-performance backend at this moment.", fix="Test again in a moment."
        )
    try:
        report = await _hello(websocket, config, backend_url)
        guard.accepted(attempt, _now())
        return report
    except SignalingRefused as refusal:
        if refusal.reason == NO_SFU:
            guard.accepted(attempt, _now())
        else:
            guard.refused(attempt, refusal, _now())
        raise
    finally:
        guard.abandoned(attempt, _now())


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _hello(websocket: ClientConnection, config: HpbConfig, backend_url: str) -> HpbReport:
    random = secrets.token_hex(32)
    parameters = {"random": random, "token": hello_token(config.internal_secret, random), "backend": backend_url}
    hello = {"version": "2.0", "features": ["internal-incall"], "auth": {"type": "internal", "params": parameters}}
    await _send(websocket, {"id": "1", "type": "hello", "hello": hello})
    welcome = Welcome("", frozenset())
    for _ in range(20):
        message = await websocket.recv()
        match parse_frame(message if isinstance(message, str) else ""):
            case Welcome() as welcome:
                continue
            case Hello(session_id=session_id, version=version, features=features) if session_id:
                await _send(websocket, {"id": "2", "type": "bye", "bye": {}})
                known = features or welcome.features
                if FEATURE_SFU not in known:
                    raise no_sfu()
                return HpbReport(version or welcome.version or "?", tuple(sorted(known)))
            case ErrorFrame(code=code) | Bye(reason=code):
                refusal = hello_refusal(code, backend_url)
                raise refusal or SignalingProtocolError(
                    f"The high-performance backend answered the hello with the error {code}.",
                    fix="Its log says more.",
                )
            case _:
                continue
    raise SignalingProtocolError(
        "The server answers, but not as a high-performance backend does.", fix="Check the address in LT_HPB_URL."
    )


async def _send(websocket: ClientConnection, frame: dict[str, Any]) -> None:
    await websocket.send(json.dumps(frame))

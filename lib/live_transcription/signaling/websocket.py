# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Opens websockets to the HPB."""

from __future__ import annotations

import logging
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from live_transcription.config import HpbConfig
from live_transcription.runtime.hosts import is_loopback
from live_transcription.runtime.redirects import RefusingConnect
from live_transcription.runtime.tls import client_context
from live_transcription.signaling.diagnosis import unreachable
from live_transcription.signaling.urls import websocket_url

#: At level DEBUG the library would log every frame, and with it what people say.
_library_logger = logging.getLogger("live_transcription.signaling.websocket")
_library_logger.setLevel(logging.WARNING)


async def open_websocket(config: HpbConfig, *, open_timeout_s: float, max_size: int, **options: Any) -> ClientConnection:
    """Open a websocket to the HPB.

    `open_timeout_s` covers TCP, TLS and the websocket's handshake. `max_size` limits a received frame in octets. `options` go
    to `websockets.connect`. Raises ConfigurationError for a malformed address, and SignalingUnreachable, whose message names
    the cause and the remedy.
    """
    url = websocket_url(config.url)
    try:
        return await RefusingConnect(
            url,
            ssl=await client_context(verify=config.verify_certificates) if url.startswith("wss:") else None,
            compression=None,
            proxy=None if is_loopback(url) else True,
            user_agent_header="live_transcription",
            open_timeout=open_timeout_s,
            close_timeout=1.0,
            max_size=max_size,
            logger=_library_logger,
            **options,
        )
    except (OSError, WebSocketException, ImportError) as error:
        raise unreachable(error, url) from None

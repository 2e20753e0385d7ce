# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Janus's Admin API: the SFU's own view of its subscribers."""

from __future__ import annotations

import json
import secrets
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from sandbox.ports import free_port


class JanusAdmin:
    """Asks over a connection of its own each time. Raises OSError while Janus is away."""

    def __init__(self) -> None:
        self.port = free_port()
        self.secret = secrets.token_hex(16)

    async def handles(self) -> list[dict[str, Any]]:
        """What Janus knows of each peer (`handle_info`)."""
        url, protocol = f"ws://127.0.0.1:{self.port}", Subprotocol("janus-admin-protocol")
        async with connect(url, subprotocols=[protocol], proxy=None) as socket:
            found: list[dict[str, Any]] = []
            for session in (await self._ask(socket, "list_sessions"))["sessions"]:
                handles = (await self._ask(socket, "list_handles", session_id=session))["handles"]
                answers = [await self._ask(socket, "handle_info", session_id=session, handle_id=handle) for handle in handles]
                found += [answer["info"] for answer in answers]
            return found

    async def _ask(self, socket: ClientConnection, request: str, **about: int) -> dict[str, Any]:
        message = {"janus": request, "transaction": secrets.token_hex(4), "admin_secret": self.secret, **about}
        await socket.send(json.dumps(message))
        answer: dict[str, Any] = json.loads(await socket.recv())
        return answer

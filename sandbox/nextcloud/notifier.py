# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk's requests to the HPB: `POST /api/v1/room/TOKEN`, signed (Talk's BackendNotifier; HPB API, "Backend requests")."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import httpx

from sandbox.nextcloud import checksum
from sandbox.nextcloud.rooms import DISCONNECTED, Room

logger = logging.getLogger(__name__)

_ATTEMPTS = 3


class HpbNotifier:
    """`hpb_url`: http base URL of the HPB, None until there is one. What it does not take is logged and counted."""

    def __init__(self, secret: str, *, hpb_url: str | None = None) -> None:
        self.hpb_url = hpb_url
        self.backend_url = ""
        self.undelivered = 0
        self._secret = secret
        self._client = httpx.AsyncClient(timeout=5.0, trust_env=False)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def in_call_changed(self, room: Room, changed: Iterable[str]) -> None:
        """`changed`: ids of the sessions that joined or left the call, or changed their flags."""
        wanted = set(changed)
        sessions = room.sessions.values()
        incall = {
            "incall": room.flags,
            "changed": [session.entry() for session in sessions if session.id in wanted],
            "users": [session.entry() for session in sessions if session.in_call != DISCONNECTED],
        }
        await self._post(room.token, {"type": "incall", "incall": incall})

    async def ended_for_all(self, room: Room) -> None:
        await self._post(room.token, {"type": "incall", "incall": {"incall": DISCONNECTED, "all": True}})

    async def participants_changed(self, room: Room, changed: Iterable[str]) -> None:
        """Names, rights or types changed; `users` holds everybody in the room, in the call or not."""
        wanted = set(changed)
        users = [session.entry() for session in room.sessions.values()]
        body = {"changed": [entry for entry in users if entry["nextcloudSessionId"] in wanted], "users": users}
        await self._post(room.token, {"type": "participants", "participants": body})

    async def sessions_removed(self, room: Room, removed: list[str]) -> None:
        """Sessions that a moderator threw out."""
        body = {"sessionids": removed, "alluserids": [], "properties": room.properties()}
        await self._post(room.token, {"type": "disinvite", "disinvite": body})

    async def room_deleted(self, room: Room) -> None:
        await self._post(room.token, {"type": "delete", "delete": {"userids": []}})

    async def switch_to(self, room: Room, target: str, session_ids: list[str]) -> None:
        """Into or out of a breakout room."""
        await self._post(room.token, {"type": "switchto", "switchto": {"roomid": target, "sessions": session_ids}})

    async def _post(self, token: str, message: dict[str, Any]) -> None:
        if self.hpb_url is None:
            return
        body = json.dumps(message).encode()
        headers = {
            "Content-Type": "application/json",
            checksum.BACKEND_HEADER: self.backend_url,
            **checksum.sign(self._secret, body),
        }
        for attempt in range(_ATTEMPTS):
            try:
                answer = await self._client.post(f"{self.hpb_url}/api/v1/room/{token}", content=body, headers=headers)
                answer.raise_for_status()
            except httpx.HTTPError as error:
                logger.warning("Request %s to the HPB failed (attempt %d): %s", message["type"], attempt + 1, error)
                if isinstance(error, httpx.HTTPStatusError):
                    break
            else:
                return
        self.undelivered += 1

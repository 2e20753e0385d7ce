# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The HPB's requests to Nextcloud: to authenticate a user, to join a room, and to leave it."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from abc import ABC, abstractmethod
from typing import Any

import httpx

from sandbox.hpb.errors import Refusal
from sandbox.hpb.tokens import check_user

_BACKEND_PATH = "/ocs/v2.php/apps/spreed/api/v3/signaling/backend"


def checksum(secret: str, random: str, body: bytes) -> str:
    """Hex HMAC-SHA256 over random and body: how HPB and Nextcloud prove themselves to each other, both ways."""
    return hmac.new(secret.encode(), random.encode() + body, hashlib.sha256).hexdigest()


class NextcloudClient(ABC):
    """`url`: Nextcloud's base URL with a slash at its end; what hellos name as their backend. `secret`: shared with it."""

    url: str
    secret: str

    def knows(self, url: str) -> bool:
        """Whether a hello's backend is this one; a longer path below it is, too, as with the real HPB."""
        return (url.rstrip("/") + "/").startswith(self.url)

    @abstractmethod
    async def ticket_user(self, params: dict[str, Any]) -> dict[str, Any]:
        """Hello 1.0: `{"userid", "user"}` of a ticket. Raises Refusal."""

    @abstractmethod
    async def token_user(self, token: str, now: float) -> dict[str, Any]:
        """Hello 2.0: `{"userid", "user"}` of a JWT. Raises Refusal."""

    @abstractmethod
    async def join(self, room: str, user: str, session: str) -> dict[str, Any]:
        """The room's answer: `{"roomid", "properties"?, "permissions"?, "session"?}`. Raises Refusal."""

    @abstractmethod
    async def leave(self, room: str, user: str, session: str) -> None:
        """Tell that a Nextcloud session left the room; failures are swallowed, as the HPB only logs them."""

    async def aclose(self) -> None:
        return


class Nextcloud(NextcloudClient):
    """The one behind `url`, over HTTP."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url.rstrip("/") + "/"
        self.secret = secret
        self._client = httpx.AsyncClient(timeout=10.0, trust_env=False)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _ask(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"type": kind, kind: {"version": "1.0", **content}}).encode()
        random = secrets.token_hex(32)
        headers = {
            "Content-Type": "application/json",
            "OCS-APIRequest": "true",
            "Accept": "application/json",
            "Spreed-Signaling-Random": random,
            "Spreed-Signaling-Checksum": checksum(self.secret, random, body),
        }
        try:
            response = await self._client.post(self.url.rstrip("/") + _BACKEND_PATH, content=body, headers=headers)
            answer = response.raise_for_status().json()["ocs"]["data"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise Refusal("internal_error", "The backend could not be asked.") from error
        if answer.get("type") == "error":
            raise Refusal(answer["error"].get("code", "internal_error"), answer["error"].get("message", ""))
        return dict(answer)

    async def ticket_user(self, params: dict[str, Any]) -> dict[str, Any]:
        answer = await self._ask("auth", {"params": params})
        if answer.get("type") != "auth":
            raise Refusal("auth_failed")
        return {"userid": answer["auth"].get("userid", ""), "user": answer["auth"].get("user")}

    async def token_user(self, token: str, now: float) -> dict[str, Any]:
        headers = {"OCS-APIRequest": "true", "Accept": "application/json"}
        try:
            response = await self._client.get(self.url + "ocs/v2.php/cloud/capabilities", headers=headers)
            capabilities = response.raise_for_status().json()["ocs"]["data"]["capabilities"]
            key = str(capabilities["spreed"]["config"]["signaling"]["hello-v2-token-key"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise Refusal("invalid_token") from error
        claims = check_user(token, key, now)
        return {"userid": claims.get("sub", ""), "user": claims.get("userdata")}

    async def join(self, room: str, user: str, session: str) -> dict[str, Any]:
        answer = await self._ask("room", {"roomid": room, "userid": user, "sessionid": session, "action": "join"})
        if answer.get("type") != "room":
            raise Refusal("room_join_failed")
        return dict(answer["room"])

    async def leave(self, room: str, user: str, session: str) -> None:
        try:
            await self._ask("room", {"roomid": room, "userid": user, "sessionid": session, "action": "leave"})
        except Refusal:
            return


class TrustingNextcloud(NextcloudClient):
    """No Nextcloud at all, for tests of signaling alone: any ticket or token is the name of a user who may go anywhere.

    `closed_rooms` refuse everybody; `permissions` is what joining users get (None: all); `left` lists who left where.
    """

    def __init__(self, url: str = "http://127.0.0.1/", secret: str = "sandbox") -> None:
        self.url = url.rstrip("/") + "/"
        self.secret = secret
        self.closed_rooms: set[str] = set()
        self.permissions: list[str] | None = None
        self.left: list[tuple[str, str]] = []

    async def ticket_user(self, params: dict[str, Any]) -> dict[str, Any]:
        if not params.get("ticket"):
            raise Refusal("invalid_ticket", "The given ticket is not valid for this user.")
        return {"userid": params["ticket"], "user": {"displayname": params["ticket"]}}

    async def token_user(self, token: str, now: float) -> dict[str, Any]:
        del now
        return {"userid": token, "user": {"displayname": token}}

    async def join(self, room: str, user: str, session: str) -> dict[str, Any]:
        del user, session
        if room in self.closed_rooms:
            raise Refusal("no_such_room")
        answer: dict[str, Any] = {"roomid": room, "properties": {"name": room}}
        return answer if self.permissions is None else {**answer, "permissions": self.permissions}

    async def leave(self, room: str, user: str, session: str) -> None:
        del user
        self.left.append((room, session))

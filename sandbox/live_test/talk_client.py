# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Talk's web API as a browser tab uses it (Talk's docs: "Conversation", "Call", "Live transcription", "Internal signaling")."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx

from live_transcription.runtime.redirects import redirect_of

BACKEND_PATH = "/ocs/v2.php/apps/spreed/api/v3/signaling/backend"
_SPREED = "/ocs/v2.php/apps/spreed/api"
_TIMEOUT_S = 20.0


class TalkRefused(Exception):
    """Nextcloud refused a request. `status`: the HTTP status, 0 without an answer; `error`: Talk's name for it, often empty."""

    def __init__(self, what: str, status: int, error: str = "") -> None:
        said = f"HTTP {status}" if status else "no answer"
        super().__init__(f"{what}: {said}{f' ({error})' if error else ''}")
        self.status = status
        self.error = error


class TalkClient:
    """One tab: its cookies hold the Talk session. Without `user` a guest. `verify` False: any certificate will do."""

    def __init__(
        self,
        nextcloud_url: str,
        token: str,
        *,
        user: str = "",
        password: str = "",
        room_password: str = "",
        verify: bool = True,
    ) -> None:
        self.nextcloud_url = nextcloud_url.rstrip("/")
        self.user = user
        self._token = token
        self._room_password = room_password
        self._http = httpx.AsyncClient(
            base_url=self.nextcloud_url,
            auth=(user, password) if user else None,
            headers={"OCS-APIRequest": "true", "Accept": "application/json", "User-Agent": "live-transcription-test"},
            timeout=_TIMEOUT_S,
            verify=verify,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def capabilities(self) -> dict[str, Any]:
        """`{"version", "capabilities"}`."""
        return dict(await self._ask("Asking for Nextcloud's capabilities", "GET", "/ocs/v2.php/cloud/capabilities"))

    async def room(self) -> dict[str, Any]:
        return dict(await self._ask("Looking at the conversation", "GET", f"{_SPREED}/v4/room/{self._token}"))

    async def join_room(self) -> str:
        """The new Talk session's id; one that this tab had before ends."""
        body = {"force": True, "password": self._room_password}
        found = await self._ask("Joining the conversation", "POST", self._active, body)
        return str(found["sessionId"])

    async def leave_room(self) -> None:
        await self._ask("Leaving the conversation", "DELETE", self._active)

    async def call_me(self, name: str) -> None:
        """Set the guest's display name."""
        await self._ask("Giving a name", "POST", f"{_SPREED}/v1/guest/{self._token}/name", {"displayName": name})

    async def join_call(self, flags: int) -> None:
        """Join the call silently: nobody's phone rings."""
        body = {"flags": flags, "silent": True, "recordingConsent": True}
        await self._ask("Joining the call", "POST", f"{_SPREED}/v4/call/{self._token}", body)

    async def leave_call(self) -> None:
        await self._ask("Leaving the call", "DELETE", f"{_SPREED}/v4/call/{self._token}")

    async def signaling_settings(self) -> dict[str, Any]:
        path = f"{_SPREED}/v3/signaling/settings?token={self._token}"
        return dict(await self._ask("Asking for the signaling settings", "GET", path))

    async def languages(self) -> dict[str, Any]:
        return dict(await self._ask("Asking for the languages", "GET", f"{_SPREED}/v1/live-transcription/languages") or {})

    async def captions_on(self) -> None:
        await self._ask("Turning captions on", "POST", f"{_SPREED}/v1/live-transcription/{self._token}")

    async def captions_off(self) -> None:
        await self._ask("Turning captions off", "DELETE", f"{_SPREED}/v1/live-transcription/{self._token}")

    async def set_language(self, language: str) -> None:
        path = f"{_SPREED}/v1/live-transcription/{self._token}/language"
        await self._ask("Setting the language", "POST", path, {"languageId": language})

    @property
    def _active(self) -> str:
        return f"{_SPREED}/v4/room/{self._token}/participants/active"

    async def _ask(self, what: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's `data`. Raises TalkRefused, which names neither the address nor the conversation."""
        try:
            answer = await self._http.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The name of the error's kind tells enough: its text may hold the address, and with it the conversation's token.
            raise TalkRefused(what, 0, type(error.__cause__ or error).__name__) from None
        location = answer.headers.get("Location", "")
        if (redirect := redirect_of(str(answer.request.url), answer.status_code, location)) is not None:
            # Following a redirect would pass on passwords and cookies.
            raise TalkRefused(what, 0, redirect.describe("it")[0].removesuffix("."))
        try:
            data = answer.json()["ocs"]["data"]
        except (ValueError, KeyError, TypeError):
            raise TalkRefused(what, answer.status_code, "no answer of Nextcloud's API") from None
        if not answer.is_success:
            said = data.get("error", "") if isinstance(data, dict) else ""
            raise TalkRefused(what, answer.status_code, str(said)[:80])
        return data

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A participant of a call on any Nextcloud, the sandbox's or a real one, through Talk's web API."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from sandbox.caller.captions import ReceivedCaption
from sandbox.caller.connection import SignalingError
from sandbox.caller.participant import Participant
from sandbox.nextcloud.rooms import IN_CALL, WITH_AUDIO

_SCHEMES = {"http": "ws", "https": "wss"}


class TalkTab(Protocol):
    """What a browser tab asks of Talk; see `sandbox.live_test.talk_client`."""

    nextcloud_url: str
    user: str

    async def join_room(self) -> str: ...
    async def leave_room(self) -> None: ...
    async def call_me(self, name: str) -> None: ...
    async def join_call(self, flags: int) -> None: ...
    async def leave_call(self) -> None: ...
    async def signaling_settings(self) -> dict[str, Any]: ...


def websocket_url(server: str) -> str:
    """`server` of Talk's signaling settings, as Talk's web client turns it into the address of the websocket."""
    parts = urlsplit(server.rstrip("/"))
    return urlunsplit((_SCHEMES.get(parts.scheme, parts.scheme), parts.netloc, parts.path + "/spreed", "", ""))


class RemoteCaller(Participant):
    """`async with` is in the call. `server`: of the signaling settings. `name`: what others see of a guest.

    Raises what `tab` raises, SignalingError and CallFailed, within an ExceptionGroup.
    """

    def __init__(
        self,
        server: str,
        tab: TalkTab,
        room_token: str,
        backend_path: str,
        *,
        name: str,
        publishes: bool = True,
        verify: bool = True,
        on_caption: Callable[[ReceivedCaption], None] | None = None,
    ) -> None:
        super().__init__(websocket_url(server), room_token, publishes=publishes, on_caption=on_caption)
        self.connection.verify = verify
        self._tab = tab
        self._backend_url = tab.nextcloud_url + backend_path
        self._name = name
        self._talk_session = ""

    async def leave_call(self) -> None:
        """Hangs up: stays in the conversation, without media."""
        await self._stop_publishing()
        await self._tab.leave_call()

    async def reload(self) -> None:
        """Reloads the page: leaves, and comes back as another Talk session of the same tab. Returns when it is in the call."""
        await self._stop_publishing()
        await self._leave_nextcloud()
        self._joined.clear()
        self.connection.forget()
        await self.connection.start_over()
        await self.wait_connected()

    async def _auth(self, version: str) -> dict[str, Any]:
        settings = await self._tab.signaling_settings()
        return {"url": self._backend_url, "params": settings["helloAuthParams"][version]}

    async def _signaling_settings(self) -> dict[str, Any]:
        return await self._tab.signaling_settings()

    def _features(self) -> list[str]:
        return ["chat-relay"]

    async def _join(self) -> None:
        if not self._talk_session:
            self._talk_session = await self._tab.join_room()
        try:
            await self._join_room()
        except SignalingError as error:
            if error.code != "no_such_room":
                raise
            # Our Talk session ended with our last session at the HPB.
            self._talk_session = await self._tab.join_room()
            await self._join_room()
        if not self._tab.user:
            await self._tab.call_me(self._name)
        await self._tab.join_call(IN_CALL | (WITH_AUDIO if self._publishes else 0))

    async def _join_room(self) -> None:
        room = {"roomid": self.room_token, "sessionid": self._talk_session}
        await self.connection.request({"type": "room", "room": room})

    async def _leave_nextcloud(self) -> None:
        if self._talk_session:
            self._talk_session = ""
            with contextlib.suppress(Exception):  # the conversation may have ended meanwhile
                await self._tab.leave_call()
            await self._tab.leave_room()

    def _nick(self) -> str:
        return self._name

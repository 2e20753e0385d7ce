# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A real HPB with a real Janus on loopback."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from sandbox.rig import servers
from sandbox.rig.certificate import CertificateKind
from sandbox.rig.janus_admin import JanusAdmin
from sandbox.rig.process import ServerFailed, ServerProcess

logger = logging.getLogger(__name__)

_MCU_TIMEOUT_S = 15.0
#: What every series of the HPB logs when it has found Janus.
_JANUS_CONNECTED = "Created Janus session"


class Rig:
    """`async with Rig(nextcloud_url, signaling_secret) as rig:` starts Janus and the HPB and waits until they know each other.

    `hpb_series`: "1.2", "2.0" or "2.1". `certificate`: of Janus's DTLS. `turn_only`: adds coturn, and Janus reaches nobody but
    through it; clients reach it by `turn_transport`. `media_address`: of Janus's media, "::1" for IPv6 alone.
    `directory`: where configuration and logs go and stay; a temporary one else.
    Raises RigUnavailable where something is not installed, ServerFailed where a server does not start.
    """

    def __init__(
        self,
        nextcloud_url: str,
        signaling_secret: str,
        *,
        hpb_series: str = "2.0",
        certificate: CertificateKind = "ecdsa",
        turn_only: bool = False,
        turn_transport: Literal["udp", "tcp"] = "udp",
        media_address: str = "127.0.0.1",
        directory: Path | None = None,
    ) -> None:
        self.internal_secret = secrets.token_hex(32)
        self.turn_credential = secrets.token_hex(16)
        self._temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="rig-"))
        self.janus_admin = JanusAdmin()
        self.janus: ServerProcess = servers.janus(
            self.directory / "janus", certificate, turn_only=turn_only, address=media_address, admin=self.janus_admin
        )
        self._turn_transport = turn_transport
        self.hpb: ServerProcess = servers.hpb(
            self.directory / "hpb",
            series=hpb_series,
            nextcloud_url=nextcloud_url,
            signaling_secret=signaling_secret,
            internal_secret=self.internal_secret,
            janus_port=self.janus.port,
        )
        self.turn: ServerProcess | None = None
        if turn_only:
            self.turn = servers.turn(self.directory / "turn", credential=self.turn_credential)
        self._stack = AsyncExitStack()

    @property
    def hpb_url(self) -> str:
        """http base URL, as administrators enter it."""
        return f"http://127.0.0.1:{self.hpb.port}"

    @property
    def signaling_url(self) -> str:
        return f"ws://127.0.0.1:{self.hpb.port}/spreed"

    @property
    def turn_servers(self) -> list[dict[str, Any]]:
        """The TURN servers in the format of Talk's signaling settings."""
        if self.turn is None:
            return []
        url = f"turn:127.0.0.1:{self.turn.port}?transport={self._turn_transport}"
        return [{"urls": [url], "username": servers.TURN_USER, "credential": self.turn_credential}]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._temporary:
                stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            for server in filter(None, (self.turn, self.janus, self.hpb)):
                stack.push_async_callback(server.stop)
                await server.start()
            await self.wait_ready()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def wait_ready(self) -> None:
        """Wait until the HPB offers an SFU, after a start or a restart of either. Raises ServerFailed."""
        deadline = time.monotonic() + _MCU_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                async with connect(self.signaling_url, proxy=None) as socket:
                    if '"mcu"' in str(await socket.recv()):
                        return
            except (OSError, WebSocketException):
                pass
            await asyncio.sleep(0.05)
        raise ServerFailed(f"the HPB has no SFU:\n{self.hpb.last_lines()}")

    async def restart_hpb(self, *, down_s: float = 0.0) -> None:
        await self.hpb.restart(down_s=down_s)
        await self.wait_ready()

    async def restart_janus(self, *, killed: bool = False, down_s: float = 0.0) -> None:
        """Returns once the HPB is connected to the new one."""
        connected = self.hpb.logged(_JANUS_CONNECTED)
        await (self.janus.kill() if killed else self.janus.stop())
        await asyncio.sleep(down_s)
        await self.janus.start()
        deadline = time.monotonic() + _MCU_TIMEOUT_S
        while self.hpb.logged(_JANUS_CONNECTED) == connected:
            if time.monotonic() > deadline:
                raise ServerFailed(f"the HPB did not find Janus again:\n{self.hpb.last_lines()}")
            await asyncio.sleep(0.05)

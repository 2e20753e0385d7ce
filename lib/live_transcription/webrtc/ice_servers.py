# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The STUN and TURN servers that Talk names, fetched again in time: TURN credentials are time-limited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from live_transcription.types import IceServer

logger = logging.getLogger(__name__)

#: How long an answer serves, in seconds; Talk's TURN credentials live for hours.
FRESH_S = 300.0
#: How long one fetch may take before the last good answer has to do, in seconds.
FETCH_S = 1.5
#: Wait after a fetch that failed, in seconds.
RETRY_S = 10.0


class IceServerCache:
    """Never fails: while Nextcloud does not answer, the last good answer serves, at first an empty one."""

    def __init__(self, fetch: Callable[[], Awaitable[Sequence[IceServer]]]) -> None:
        self._fetch = fetch
        self._servers: Sequence[IceServer] = ()
        self._fresh_until: float | None = None
        self._fetching: asyncio.Event | None = None

    async def get(self) -> Sequence[IceServer]:
        """The servers to use for a peer that is opened now; many callers at once cause one fetch.

        A caller that is cancelled takes nobody with it: another one fetches in its place.
        """
        while not self._fresh():
            if self._fetching is not None:
                await self._fetching.wait()
                continue
            done = self._fetching = asyncio.Event()
            try:
                await self._renew()
            finally:
                self._fetching = None
                done.set()
        return self._servers

    def _fresh(self) -> bool:
        return self._fresh_until is not None and asyncio.get_running_loop().time() < self._fresh_until

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(FETCH_S):
                self._servers = await self._fetch()
            self._fresh_until = loop.time() + FRESH_S
        except Exception as error:  # noqa: BLE001  whatever the gateway raises, a call goes on with what is known
            logger.warning(
                "Nextcloud did not name its STUN and TURN servers (%s); the last known %d serve",
                type(error).__name__,
                len(self._servers),
            )
            self._fresh_until = loop.time() + RETRY_S

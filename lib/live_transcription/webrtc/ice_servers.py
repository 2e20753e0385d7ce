# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The STUN and TURN servers of Talk's signaling settings.

`parse_servers` reads their URIs (RFC 7064, RFC 7065). `IceServerCache` fetches the settings again in time, since TURN
credentials expire.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from live_transcription.errors import LiveTranscriptionError
from live_transcription.types import IceServer, Secret

logger = logging.getLogger(__name__)

#: Seconds for which fetched servers are used. Talk's TURN credentials are valid for hours.
FRESH_S = 300.0
#: Time limit of one fetch, in seconds. After it the servers of the last successful fetch are used.
FETCH_S = 1.5
#: Seconds between a failed fetch and the next one.
RETRY_S = 10.0

_URI = re.compile(
    r"(?P<scheme>stuns?|turns?):(?://)?(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s\[\]:?/@]+))(?::(?P<port>\d{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class StunServer:
    """A STUN server that is reached over UDP."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A TURN server. `transport` is `udp` or `tcp`, with TLS on top if `tls` is true. The relayed side is always UDP."""

    host: str
    port: int
    transport: str
    tls: bool
    username: str | None = field(repr=False)
    credential: Secret | None


def parse_servers(servers: Iterable[IceServer]) -> tuple[list[StunServer | TurnServer], int]:
    """Return the usable servers in order and without duplicates, and the number of URIs that cannot be used.

    A URI cannot be used if it is malformed, or asks for STUN over TLS (which reveals no UDP mapping) or TURN over DTLS (for
    which there is no client).
    """
    usable: list[StunServer | TurnServer] = []
    refused = 0
    for server in servers:
        for uri in server.urls:
            parsed = _parse(uri, server)
            if parsed is None:
                refused += 1
            elif parsed not in usable:
                usable.append(parsed)
    return usable, refused


def _parse(uri: str, server: IceServer) -> StunServer | TurnServer | None:
    match = _URI.fullmatch(uri.strip())
    if match is None:
        return None
    scheme = match["scheme"].lower()
    host = match["v6"] or match["host"]
    tls = scheme.endswith("s")
    port = int(match["port"]) if match["port"] else (5349 if tls else 3478)
    if not 0 < port < 65_536:
        return None
    if scheme.startswith("stun"):
        return None if tls else StunServer(host, port)
    transport = (match["transport"] or ("tcp" if tls else "udp")).lower()
    if tls and transport == "udp":
        return None
    return TurnServer(host, port, transport, tls, server.username, server.credential)


class IceServerCache:
    """Caches the ICE servers of Nextcloud.

    `get` never fails: while Nextcloud does not answer, it returns the servers of the last successful fetch, or none.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Sequence[IceServer]]]) -> None:
        self._fetch = fetch
        self._servers: Sequence[IceServer] = ()
        self._fresh_until: float | None = None
        self._fetching: asyncio.Event | None = None

    async def get(self) -> Sequence[IceServer]:
        """Return the servers for a new peer. Concurrent callers share one fetch.

        If the caller that fetches is cancelled, another caller fetches in its place.
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
        except Exception as error:  # noqa: BLE001  a call continues with the last known servers, whatever the gateway raises
            logger.warning(
                "Could not fetch the STUN and TURN servers from Nextcloud. %s The last known %d servers are used.",
                error if isinstance(error, LiveTranscriptionError) else f"{type(error).__name__}.",
                len(self._servers),
                extra={"code": getattr(error, "code", "")},
            )
            self._fresh_until = loop.time() + RETRY_S

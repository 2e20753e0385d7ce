# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""STUN and TURN URIs (RFC 7064, RFC 7065) of Talk's signaling settings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from live_transcription.types import IceServer, Secret

_URI = re.compile(
    r"(?P<scheme>stuns?|turns?):(?://)?(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s\[\]:?/@]+))(?::(?P<port>\d{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class StunServer:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TurnServer:
    """`transport`: how to reach the server, `udp` or `tcp`; with `tls` inside TLS. The relayed leg is UDP always."""

    host: str
    port: int
    transport: str
    tls: bool
    username: str | None = field(repr=False)
    credential: Secret | None


def parse_servers(servers: Iterable[IceServer]) -> tuple[list[StunServer | TurnServer], int]:
    """The servers in order, without duplicates, and how many URIs are malformed or ask for what there is no client for.

    Left out: STUN over TLS (it finds no UDP mapping) and TURN over DTLS.
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

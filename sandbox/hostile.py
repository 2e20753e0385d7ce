# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Attacks that a participant can send: forged offers, frames that are expensive to parse, datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from sandbox import process_stats
from sandbox.caller import Caller

_FINGERPRINT = "AB:" * 31 + "AB"
#: An unencrypted fatal DTLS alert (handshake_failure).
DTLS_ALERT = bytes.fromhex("15feff000000000000000000020228")
#: A STUN binding request with a PRIORITY of length 0.
BROKEN_STUN = bytes.fromhex("000100042112a442000000000000000000000000") + bytes.fromhex("00240000")
#: The HPB closes the connection of a client that sends a larger frame.
_LARGEST_DATA = 64_000


def forged_offer(port: int, *, sid: str = "666") -> dict[str, Any]:
    """`message.data` of an offer that names a local UDP port as the SFU's address."""
    lines = [
        "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 127.0.0.1", "a=mid:0", "a=sendonly", "a=rtcp-mux",
        "a=ice-ufrag:evil", "a=ice-pwd:evilevilevilevilevilevil", f"a=fingerprint:sha-256 {_FINGERPRINT}", "a=setup:actpass",
        "a=rtpmap:111 opus/48000/2", f"a=candidate:1 1 udp 2015363327 127.0.0.1 {port} typ host", "a=end-of-candidates",
    ]  # fmt: skip
    sdp = "\r\n".join(lines) + "\r\n"
    return {"type": "offer", "roomType": "video", "sid": sid, "payload": {"type": "offer", "sdp": sdp}}


def relayed_by_mistake(data: dict[str, Any]) -> dict[str, Any]:
    """The same with a fault, so that the HPB cannot parse it as an offer and relays it to the addressed session."""
    return {**data, "bitrate": "x"}


def dear_offer(port: int) -> dict[str, Any]:
    """An offer of nearly 64 KiB that is expensive to parse: many sections in a long BUNDLE group."""
    data = forged_offer(port)
    sections = 1_500
    mids = " ".join(f"x{number}" for number in range(sections))
    sdp = data["payload"]["sdp"].replace("BUNDLE 0", f"BUNDLE 0 {mids}")
    sdp += "".join(f"m=a 9 b c\r\na=mid:x{number}\r\n" for number in range(sections))
    data["payload"]["sdp"] = sdp
    assert len(json.dumps(data)) < _LARGEST_DATA
    return data


async def send_to_room(guest: Caller, data: dict[str, Any] | bytes) -> None:
    """Send `data` as JSON or as octets. Raises ConnectionError."""
    await _send(guest, {"type": "room"}, data)


async def send_to_session(guest: Caller, session_id: str, data: dict[str, Any] | bytes) -> None:
    """Raises ConnectionError."""
    await _send(guest, {"type": "session", "sessionid": session_id}, data)


async def _send(guest: Caller, recipient: dict[str, str], data: dict[str, Any] | bytes) -> None:
    octets = data if isinstance(data, bytes) else json.dumps(data).encode()
    frame = b'{"id":"0","type":"message","message":{"recipient":%s,"data":%s}}'
    await guest.connection.send_octets(frame % (json.dumps(recipient).encode(), octets))


@contextlib.contextmanager
def listening_port() -> Iterator[tuple[int, Callable[[], list[bytes]]]]:
    """A UDP port of 127.0.0.1, and a function that returns the datagrams it has received."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)

        def received() -> list[bytes]:
            found = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.append(listening.recv(2048))
            return found

        yield listening.getsockname()[1], received


async def spray(pid: int, datagrams: list[bytes], *, every_s: float = 0.001) -> AsyncIterator[int]:
    """Repeatedly send these to each media port of the process on 127.0.0.1; yields how many were sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.bind(("127.0.0.1", 0))
        sending.setblocking(False)
        while True:
            ports = process_stats.udp_ports(pid)
            for port in ports:
                for datagram in datagrams:
                    with contextlib.suppress(OSError):
                        sending.sendto(datagram, ("127.0.0.1", port))
            yield len(ports) * len(datagrams)
            await asyncio.sleep(every_s)

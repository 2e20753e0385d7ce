# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Test STUN and TURN servers: ask the former for our address and the latter for a relay."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence

from aioice import stun

from live_transcription.status import IceReport
from live_transcription.texts import Text
from live_transcription.types import IceServer
from live_transcription.webrtc.ice_connection import IceConnection
from live_transcription.webrtc.ice_servers import StunServer, TurnServer, parse_servers

#: Time limit for one server, in seconds.
SERVER_S = 6.0
_RESEND_S = 0.5


async def probe_ice(servers: Sequence[IceServer]) -> tuple[tuple[IceReport, ...], int]:
    """Ask all servers at once. Return a report for each, and the number of URIs that cannot be used. Never raises."""
    usable, refused = parse_servers(servers)
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(_probe(server), name="ICE probe") for server in usable]
    return tuple(task.result() for task in asked), refused


async def _probe(server: StunServer | TurnServer) -> IceReport:
    kind = "stun" if isinstance(server, StunServer) else "turn"
    name = f"{server.host}:{server.port}"
    if isinstance(server, TurnServer):
        name += f" ({'tls' if server.tls else server.transport})"
    try:
        async with asyncio.timeout(SERVER_S):
            address = await (_ask_stun(server) if isinstance(server, StunServer) else _ask_turn(server))
    except TimeoutError:
        return IceReport(kind, name, "", Text("it does not answer"))
    except stun.TransactionFailed as failed:
        code = failed.response.attributes.get("ERROR-CODE", (0, ""))[0]
        refused = code in (401, 403)
        problem = Text("it refused the credentials") if refused else Text("it answered with error {code}", code=str(code))
        return IceReport(kind, name, "", problem)
    except stun.TransactionTimeout:
        return IceReport(kind, name, "", Text("it does not answer"))
    except socket.gaierror:
        return IceReport(kind, name, "", Text("its name cannot be resolved"))
    except (OSError, ValueError) as error:
        return IceReport(kind, name, "", Text("it cannot be reached ({reason})", reason=type(error).__name__))
    return IceReport(kind, name, address)


class _Answer(asyncio.DatagramProtocol):
    def __init__(self, request: stun.Message) -> None:
        self._request = request
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        with contextlib.suppress(ValueError):
            message = stun.parse_message(data)
            mapped = message.attributes.get("XOR-MAPPED-ADDRESS") or message.attributes.get("MAPPED-ADDRESS")
            if message.transaction_id == self._request.transaction_id and mapped and not self.address.done():
                self.address.set_result(f"{mapped[0]}:{mapped[1]}")

    def error_received(self, exc: Exception) -> None:
        if not self.address.done():
            self.address.set_exception(OSError(str(exc)) if not isinstance(exc, OSError) else exc)


async def _ask_stun(server: StunServer) -> str:
    """Send a binding request (RFC 8489, section 3) until it is answered. Return our address."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Answer(request), remote_addr=(server.host, server.port)
    )
    try:
        while True:
            transport.sendto(bytes(request))
            done, _ = await asyncio.wait([protocol.address], timeout=_RESEND_S)
            if done:
                return protocol.address.result()
    finally:
        transport.close()


async def _ask_turn(server: TurnServer) -> str:
    """Allocate a relay (RFC 8656, section 3.2) and release it at once. Return its address."""
    connection = IceConnection(lambda _data: None, lambda _data: None)
    try:
        (candidate,) = await connection.relayed(server)
        return f"{candidate.host}:{candidate.port}"
    finally:
        await connection.close()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A small STUN and TURN server (RFC 8489, RFC 8656) on loopback, over UDP or TCP, for one user."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from aioice import stun

USER, PASSWORD, REALM = "1700000000:user", "hidden-word", "example.com"
_KEY = hashlib.md5(f"{USER}:{REALM}:{PASSWORD}".encode()).digest()
Address = tuple[str, int]


class Allocation(asyncio.DatagramProtocol):
    """The relayed address of one client."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.channels: dict[int, Address] = {}
        self._send = send

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        for channel, peer in self.channels.items():
            if peer == addr[:2]:
                self._send(channel.to_bytes(2) + len(data).to_bytes(2) + data)


class TurnServer:
    """With `mute=True` it stops answering, like a dead server. `relays` counts the open relays."""

    def __init__(self) -> None:
        self.mute = False
        self.address: Address = ("", 0)
        self.bindings = 0
        self.relayed_datagrams = 0
        self.allocations: dict[object, Allocation] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def relays(self) -> int:
        return len(self.allocations)

    def received(self, client: object, source: Address, data: bytes, send: Callable[[bytes], None]) -> None:
        if self.mute:
            return
        allocation = self.allocations.get(client)
        if data[0] & 0xC0 == 0x40:
            if allocation is not None:
                self.relayed_datagrams += 1
                allocation.transport.sendto(
                    data[4 : 4 + int.from_bytes(data[2:4])], allocation.channels[int.from_bytes(data[:2])]
                )
            return
        task = asyncio.create_task(self._answer(client, source, stun.parse_message(data), send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, client: object, source: Address, request: stun.Message, send: Callable[[bytes], None]) -> None:
        response = stun.Message(request.message_method, stun.Class.RESPONSE, request.transaction_id)
        attributes = response.attributes
        attributes["XOR-MAPPED-ADDRESS"] = ("198.51.100.7", source[1])
        if request.message_method is stun.Method.BINDING:
            self.bindings += 1
            send(bytes(response))
            return
        if "MESSAGE-INTEGRITY" not in request.attributes or not request.check_message_integrity(_KEY):
            response.message_class = stun.Class.ERROR
            attributes.clear()
            attributes.update({"ERROR-CODE": (401, "Unauthorized"), "NONCE": b"nonce", "REALM": REALM})
            send(bytes(response))
            return
        if request.message_method is stun.Method.ALLOCATE:
            loop = asyncio.get_running_loop()
            _, allocation = await loop.create_datagram_endpoint(lambda: Allocation(send), local_addr=("127.0.0.1", 0))
            self.allocations[client] = allocation
            attributes["XOR-RELAYED-ADDRESS"] = allocation.transport.get_extra_info("sockname")
            attributes["LIFETIME"] = 600
        elif request.message_method is stun.Method.CHANNEL_BIND:
            self.allocations[client].channels[request.attributes["CHANNEL-NUMBER"]] = request.attributes["XOR-PEER-ADDRESS"]
        elif request.message_method is stun.Method.REFRESH:
            attributes["LIFETIME"] = request.attributes["LIFETIME"]
            if request.attributes["LIFETIME"] == 0:
                self.allocations.pop(client).transport.close()
        response.add_message_integrity(_KEY)
        send(bytes(response))


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: TurnServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._server.received(addr, addr, data, lambda answer: self._transport.sendto(answer, addr))


class _Tcp(asyncio.Protocol):
    def __init__(self, server: TurnServer) -> None:
        self._server = server
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[2:4])
            end = 4 + length if self._buffer[0] & 0xC0 == 0x40 else 20 + length
            padded = end + -end % 4
            if len(self._buffer) < padded:
                return
            message, self._buffer = self._buffer[:end], self._buffer[padded:]
            self._server.received(self, self._transport.get_extra_info("peername"), message, self._send)

    def connection_lost(self, exc: Exception | None) -> None:
        allocation = self._server.allocations.pop(self, None)
        if allocation is not None:
            allocation.transport.close()

    def _send(self, data: bytes) -> None:
        self._transport.write(data + bytes(-len(data) % 4))


@asynccontextmanager
async def turn_server(transport: str) -> AsyncIterator[TurnServer]:
    server = TurnServer()
    loop = asyncio.get_running_loop()
    if transport == "udp":
        listener, _ = await loop.create_datagram_endpoint(lambda: _Udp(server), local_addr=("127.0.0.1", 0))
        server.address = listener.get_extra_info("sockname")
        try:
            yield server
        finally:
            listener.close()
            for allocation in server.allocations.values():
                allocation.transport.close()
    else:
        connections: list[_Tcp] = []

        def connected() -> _Tcp:
            connections.append(_Tcp(server))
            return connections[-1]

        async with await loop.create_server(connected, "127.0.0.1", 0) as listening:
            server.address = listening.sockets[0].getsockname()
            try:
                yield server
            finally:
                for connection in connections:
                    connection._transport.abort()
    await asyncio.sleep(0)

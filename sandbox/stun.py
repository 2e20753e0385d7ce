# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A STUN server on loopback that answers binding requests over UDP (RFC 8489, section 7.3), and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from aioice import stun


class _Binding(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            request = stun.parse_message(data)
        except ValueError:
            return
        if request.message_method is stun.Method.BINDING and request.message_class is stun.Class.REQUEST:
            answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
            answer.attributes["XOR-MAPPED-ADDRESS"] = addr[:2]
            self._transport.sendto(bytes(answer), addr)


@asynccontextmanager
async def stun_server(host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Its URI (RFC 7064), for as long as the block runs."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Binding, local_addr=(host, 0))
    try:
        yield f"stun:{host}:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()

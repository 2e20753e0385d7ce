# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""DTLS: a dropped ClientHello is sent again soon, and a duplicate is harmless."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from live_transcription.webrtc.dtls import DtlsLink
from live_transcription.webrtc.ice_connection import IceConnection
from sandbox import virtual_clock

from .publisher import Publisher
from .test_subscriber import subscribed


class Path:
    """Replaces ICE and records datagrams with their times."""

    ice_controlling = False

    def __init__(self) -> None:
        self.sent: list[tuple[float, bytes]] = []

    async def send(self, data: bytes) -> None:
        self.sent.append((round(asyncio.get_running_loop().time(), 3), data))


def test_the_first_flight_is_repeated_within_the_first_second_only() -> None:
    path = Path()

    async def run() -> None:
        link = DtlsLink(path)  # type: ignore[arg-type]
        await link._send(b"hello")
        await link.repeat_first_flight()

    virtual_clock.run(run())
    assert path.sent == [(at, b"hello") for at in (0.0, 0.05, 0.15, 0.35, 0.75)]


def test_no_flight_is_repeated_after_the_sfu_has_answered() -> None:
    path = Path()

    async def run() -> None:
        link = DtlsLink(path)  # type: ignore[arg-type]
        await link._send(b"hello")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(link.repeat_first_flight())
            await asyncio.sleep(0.1)
            link.put(b"server hello")
            await link._send(b"finished")

    virtual_clock.run(run())
    assert [data for _, data in path.sent] == [b"hello", b"hello", b"finished"]


@pytest.mark.parametrize("copies", [0, 3])
async def test_the_handshake_survives_a_lost_or_duplicated_client_hello(monkeypatch: pytest.MonkeyPatch, copies: int) -> None:
    """The first DTLS datagram is lost or arrives several times. A real server answers."""
    send = IceConnection.send
    flights: list[bytes] = []

    async def unreliable(self: Any, data: bytes) -> None:
        if 19 < data[0] < 64:
            flights.append(data)
        for _ in range(copies if flights == [data] else 1):
            await send(self, data)

    monkeypatch.setattr(IceConnection, "send", unreliable)
    publisher = Publisher()
    async with subscribed(publisher):
        await publisher.negotiate()
        await publisher.receive(5)
    if copies == 0:
        assert flights[1] == flights[0], "it was our copy that got through, not that of DTLS a second later"


@pytest.mark.parametrize("steps", range(5))
async def test_a_subscriber_can_be_cancelled_during_the_handshake(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """At any step of the event loop: aiortc uses `wait_for`, which loses a cancellation that comes with data (Python 3.11)."""
    put = DtlsLink.put
    cancelled = asyncio.Event()
    publisher = Publisher()

    def cancel_after(left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(cancel_after, left - 1)
        else:
            running.cancel()
            cancelled.set()

    def put_and_cancel(self: DtlsLink, data: bytes | None) -> None:
        put(self, data)
        if not cancelled.is_set():
            cancel_after(steps)

    monkeypatch.setattr(DtlsLink, "put", put_and_cancel)
    running = asyncio.create_task(publisher.subscriber.run())
    negotiating = asyncio.create_task(publisher.negotiate())
    async with asyncio.timeout(5):
        await cancelled.wait()
    await asyncio.wait([running], timeout=2)
    assert running.done()
    negotiating.cancel()
    await asyncio.wait([negotiating])
    await publisher.peer.close()

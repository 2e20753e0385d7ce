# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Twenty rooms while the HPB is down for 40 s, in every possible way: the times of their attempts and of their return."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from live_transcription.config import HpbConfig
from live_transcription.signaling import websocket as module
from live_transcription.signaling.connection import OPEN_TIMEOUT_S, RETRY_S, SignalingConnection
from live_transcription.signaling.events import SessionStarted, SignalingEnded
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.types import Secret
from sandbox import virtual_clock
from tests.unit.signaling.hpb_stub import SECRET, HpbStub

ROOMS = 20
AWAY_S = 40.0
BACK_WITHIN_S = 10.0


class Road:
    """The network between the rooms and the stub. `closed` fails attempts to open a websocket, which are counted by room."""

    def __init__(self) -> None:
        self.closed: Callable[[], Any] | None = None
        self.began: dict[asyncio.Task[Any], list[float]] = {}

    async def connect(self, url: str, **options: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        assert options["open_timeout"] == OPEN_TIMEOUT_S
        self.began.setdefault(task, []).append(asyncio.get_running_loop().time())
        if self.closed is not None:
            async with asyncio.timeout(options["open_timeout"]):
                await self.closed()
        return await connect(url, **options)


class Room:
    def __init__(self, config: HpbConfig, guard: HelloGuard, name: str) -> None:
        self.client = SignalingConnection(config, name, guard=guard)
        self.started: list[float] = []

    async def follow(self) -> None:
        with contextlib.suppress(SignalingEnded):
            while True:
                if isinstance(await self.client.next_event(), SessionStarted):
                    self.started.append(asyncio.get_running_loop().time())


@contextlib.asynccontextmanager
async def rooms(monkeypatch: pytest.MonkeyPatch, count: int = ROOMS) -> AsyncIterator[tuple[HpbStub, Road, list[Room]]]:
    """So many connections that have been in their rooms for a minute."""
    stub, road, guard = HpbStub(), Road(), HelloGuard()
    monkeypatch.setattr(module, "RefusingConnect", road.connect)
    async with serve(stub.serve_one, "127.0.0.1", 0, close_timeout=0.2, ping_interval=None) as stub.server:
        config = HpbConfig(stub.url, Secret(SECRET), "https://cloud.example.com")
        made = [Room(config, guard, f"room-{number}") for number in range(count)]
        async with asyncio.TaskGroup() as tasks:
            for room in made:
                tasks.create_task(room.client.run())
                tasks.create_task(room.follow())
            await asyncio.sleep(60)
            assert all(len(room.started) == 1 for room in made)
            road.began.clear()
            yield stub, road, made
            for room in made:
                await room.client.close()


async def lose(error: Exception, after_s: float = 0.0) -> None:
    await asyncio.sleep(after_s)
    raise error


def handshake_failure() -> ssl.SSLError:
    error = ssl.SSLError(1, "handshake failure")
    error.reason = "HANDSHAKE_FAILURE"
    return error


CLOSED: dict[str, Callable[[], Any]] = {
    "nothing listens": lambda: lose(ConnectionRefusedError()),
    "every packet is lost": lambda: asyncio.Event().wait(),
    "the name does not resolve": lambda: lose(socket.gaierror(-3, "Temporary failure"), 2.0),
    "TLS fails": lambda: lose(handshake_failure(), 0.1),
    "the proxy has no backend": lambda: lose(OSError("502"), 0.05),
}


@pytest.mark.parametrize("expired", [False, True], ids=["resumed", "new sessions"])
@pytest.mark.parametrize("closed", CLOSED)
def test_all_rooms_are_back_in_time_and_none_tries_too_often(
    monkeypatch: pytest.MonkeyPatch, closed: str, expired: bool
) -> None:
    async def run() -> None:
        async with rooms(monkeypatch) as (stub, road, made):
            road.closed = CLOSED[closed]
            away_at = asyncio.get_running_loop().time()
            await stub.cut()
            await asyncio.sleep(AWAY_S)
            attempts = list(road.began.values())
            if expired:
                stub.forget_sessions()
            road.closed = None
            back_at = asyncio.get_running_loop().time()
            await asyncio.sleep(BACK_WITHIN_S)
            assert [len(room.started) for room in made] == [2] * ROOMS
            assert max(room.started[-1] for room in made) - back_at <= RETRY_S + 1
            assert len(attempts) == ROOMS
            for began in attempts:
                assert began[0] - away_at <= 0.55, "so that the session can be resumed"
                assert max(after - before for before, after in pairwise(began)) <= RETRY_S
                assert len(began) <= 20
            later = sorted(at for began in attempts for at in began if at > away_at + 15)
            assert max(sum(at <= other < at + 0.1 for other in later) for at in later) <= ROOMS / 2, "not all at once"

    virtual_clock.run(run())


@pytest.mark.parametrize("silent", ["welcome", "hello", "join"])
def test_an_hpb_that_falls_silent_on_an_open_websocket_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    async def run() -> None:
        async with rooms(monkeypatch, 8) as (stub, _road, made):
            stub.forget_sessions()
            stub.welcome = silent != "welcome"
            stub.answers_hello = silent == "join"
            stub.answers_room = False
            await stub.cut()
            await asyncio.sleep(AWAY_S)
            stub.welcome = stub.answers_hello = stub.answers_room = True
            back_at = asyncio.get_running_loop().time()
            await asyncio.sleep(BACK_WITHIN_S)
            assert [len(room.started) for room in made] == [2] * len(made)
            assert max(room.started[-1] for room in made) - back_at <= BACK_WITHIN_S

    virtual_clock.run(run())


def test_a_frozen_hpb_is_detected_by_its_missing_pongs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with rooms(monkeypatch, 3) as (stub, road, made):
            road.closed = CLOSED["every packet is lost"]
            frozen_at = asyncio.get_running_loop().time()
            for connection in stub.connections:
                connection.transport.pause_reading()
            while not all(room.client.last_error for room in made):  # noqa: ASYNC110  a property
                await asyncio.sleep(0.1)
            assert asyncio.get_running_loop().time() - frozen_at <= 26
            assert "answers no pings" in str(made[0].client.last_error)
            await asyncio.sleep(10)
            assert all("No answer" in str(room.client.last_error) for room in made)
            road.closed = None
            await asyncio.sleep(BACK_WITHIN_S)
            assert all(room.client.in_room for room in made)

    virtual_clock.run(run())


def test_a_hundred_rooms_are_back_at_once_after_a_restart_with_the_same_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hello proves the secret; the others need not follow one by one."""

    async def run() -> None:
        async with rooms(monkeypatch, 100) as (stub, _road, made):
            stub.forget_sessions()
            stub.hello_delay_s = 0.05
            await stub.cut()
            cut_at = asyncio.get_running_loop().time()
            await asyncio.sleep(5)
            assert max(room.started[-1] for room in made) - cut_at <= 1.5
            assert all(len(room.started) == 2 for room in made)

    virtual_clock.run(run())

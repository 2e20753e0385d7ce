# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""HTTP connections of slow, many or malformed peers, and a process without free descriptors."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from uvicorn.server import ServerState

from ex_app import listener, responses
from ex_app.administration import SELFTEST_ROUTE
from ex_app.http_protocol import ANSWER_S, BODY_S, CLOSE_S, HEAD_S, BoundedProtocol, ConnectionConfig
from ex_app.identity import Listen
from ex_app.listener import BACKLOG, AcceptShortage, ListeningSocket, listening_sockets
from ex_app.selftest.checks import CHECKS
from ex_app.selftest.run import CHECK_S
from ex_app.server import server_of
from sandbox import process_stats, virtual_clock
from tests.ex_app.fakes import ENVIRONMENT, FakeEngine, credentials
from tests.ex_app.test_server import Running, running

UNREACHABLE = ENVIRONMENT | {"NEXTCLOUD_URL": "http://127.0.0.1:9", "LOG_LEVEL": "INFO"}
HEAD = b"POST /api/v1/call/leave HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n"
BEGUN = HEAD + b"X-Slow: "


class FakeTransport(asyncio.Transport):
    """Records what is written, and when it was closed or cut. `reads`: whether the peer reads."""

    def __init__(self, protocol: asyncio.Protocol, *, reads: bool = True) -> None:
        super().__init__()
        self.written = b""
        self.closed_at: float | None = None
        self.cut_at: float | None = None
        self._protocol = protocol
        self._reads = reads

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed_at is not None or self.cut_at is not None

    def close(self) -> None:
        if not self.is_closing():
            self.closed_at = now()
            if self._reads:
                asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        if self.cut_at is None:
            self.cut_at = now()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def now() -> float:
    return asyncio.get_running_loop().time()


class Connections:
    """A server's connections without sockets, for an app that answers after `answer_s` and reads the body first."""

    def __init__(self, *, most: int = 3, answer_s: float = 0.0, slow_path: str = "") -> None:
        self._answer_s = answer_s
        self._config = ConnectionConfig(self._app, http=BoundedProtocol, log_config=None, lifespan="off", interface="asgi3")
        self._config.max_connections = most
        self._config.answer_s = {slow_path: 500.0} if slow_path else {}
        self._config.load()
        self.state = ServerState()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        await asyncio.sleep(self._answer_s)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def open(self, *, reads: bool = True) -> tuple[BoundedProtocol, FakeTransport]:
        protocol = BoundedProtocol(self._config, self.state, {})
        transport = FakeTransport(protocol, reads=reads)
        protocol.connection_made(transport)
        return protocol, transport


def timed(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test with a virtual clock."""

    def run() -> None:
        virtual_clock.run(test(), limit_s=1000)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@timed
async def test_an_incomplete_head_is_cut_at_its_deadline() -> None:
    silent, trickling = Connections().open()[1], Connections().open()
    began_at = now()
    for number in range(40):
        if not trickling[1].is_closing():
            trickling[0].data_received(BEGUN[number : number + 1])
        await asyncio.sleep(0.25)
    assert silent.cut_at == pytest.approx(began_at + HEAD_S, abs=0.01)
    assert trickling[1].cut_at == pytest.approx(began_at + HEAD_S, abs=0.01)


@timed
async def test_an_incomplete_body_is_cut_at_its_deadline() -> None:
    protocol, transport = Connections().open()
    protocol.data_received(HEAD + b"\r\n")
    began_at = now()
    for _ in range(9):
        await asyncio.sleep(2.0)
        if not transport.is_closing():
            protocol.data_received(b"x")
    assert transport.cut_at == pytest.approx(began_at + BODY_S, abs=0.01)


@timed
async def test_a_complete_request_is_answered_within_the_limit_of_an_answer() -> None:
    protocol, transport = Connections(answer_s=60.0).open()
    await asyncio.sleep(HEAD_S - 0.1)
    protocol.data_received(HEAD + b"\r\n")
    await asyncio.sleep(BODY_S - 0.1)
    protocol.data_received(b"0123456789")
    await asyncio.sleep(61)
    assert transport.written.startswith(b"HTTP/1.1 200")
    await asyncio.sleep(6)
    assert transport.closed_at is not None, "idle"


@timed
async def test_an_answer_has_a_deadline() -> None:
    protocol, transport = Connections(answer_s=500.0).open()
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
    await asyncio.sleep(ANSWER_S + 1)
    assert transport.cut_at == pytest.approx(ANSWER_S, abs=0.01)


@timed
async def test_the_self_test_of_occ_has_a_deadline_of_its_own() -> None:
    connections = Connections(answer_s=400.0, slow_path="/occ/selftest")
    (self_test, shown), (other, cut) = connections.open(), connections.open()
    self_test.data_received(b"POST /occ/selftest HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n")
    other.data_received(b"POST /occ/other HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n")
    await asyncio.sleep(401.0)
    assert cut.cut_at == pytest.approx(ANSWER_S, abs=0.01)
    assert shown.cut_at is None
    assert shown.written.endswith(b"ok")
    assert server_of(FastAPI(), Listen(), FakeEngine()).config.answer_s[SELFTEST_ROUTE] > len(CHECKS) * CHECK_S


@timed
async def test_each_request_of_a_connection_has_its_own_deadlines() -> None:
    protocol, transport = Connections().open()
    for _ in range(4):
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
        await asyncio.sleep(4.0)
    assert transport.written.count(b"HTTP/1.1 200") == 4
    began_at = now()
    protocol.data_received(b"G")  # uvicorn's own timer ends here, and nothing else would end the connection
    await asyncio.sleep(10)
    assert transport.cut_at == pytest.approx(began_at + HEAD_S, abs=0.01)


@timed
async def test_a_peer_that_does_not_read_its_answer_is_cut() -> None:
    protocol, transport = Connections().open(reads=False)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
    await asyncio.sleep(CLOSE_S + 1)
    assert transport.closed_at is not None
    assert transport.cut_at == pytest.approx(transport.closed_at + CLOSE_S, abs=0.01)


@timed
async def test_a_new_connection_replaces_the_slowest_one() -> None:
    connections = Connections(most=3)
    slow = []
    for _ in range(3):
        slow.append(connections.open())
        await asyncio.sleep(0.5)
    slow[0][0].data_received(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")  # has been waited for most recently now
    await asyncio.sleep(1)
    prompt = connections.open()
    assert [transport.cut_at is not None for _, transport in slow] == [False, True, False]
    prompt[0].data_received(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
    await asyncio.sleep(0.1)
    assert prompt[1].written.startswith(b"HTTP/1.1 200")
    assert len(connections.state.connections) == 3


@timed
async def test_a_new_connection_is_refused_while_all_others_are_being_answered() -> None:
    connections = Connections(most=2, answer_s=30.0)
    for _ in range(2):
        connections.open()[0].data_received(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
    await asyncio.sleep(1)
    _, refused = connections.open()
    assert refused.written.startswith(b"HTTP/1.1 503 ")
    assert refused.closed_at is not None
    assert len(connections.state.connections) == 2
    await asyncio.sleep(40)


def test_cut_connections_are_counted() -> None:
    name = "live_transcription_http_connections_cut_total"
    before = responses.registry.get_sample_value(name, {"reason": "head"}) or 0

    async def run() -> None:
        Connections().open()
        await asyncio.sleep(HEAD_S + 1)

    virtual_clock.run(run(), limit_s=100)
    assert responses.registry.get_sample_value(name, {"reason": "head"}) == before + 1


# Listening sockets.


def test_a_shortage_is_raised_once_per_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio calls `accept` as often as the backlog is long unless it raises BlockingIOError."""
    clock = [100.0]

    def short(listening: socket.socket) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket.socket, "accept", short)
    monkeypatch.setattr(listener.time, "monotonic", lambda: clock[0])
    with ListeningSocket() as ours:
        for _ in range(3):
            with pytest.raises(AcceptShortage):
                ours.accept()
            for _ in range(10):
                with pytest.raises(BlockingIOError):
                    ours.accept()
            clock[0] += 1.0


def test_a_name_is_bound_on_all_its_addresses_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            listening_sockets(Listen("127.0.0.1", port))
    (ours,) = listening_sockets(Listen("127.0.0.1", port))
    assert ours.getsockname() == ("127.0.0.1", port)
    ours.close()


def test_addresses_that_the_machine_does_not_have_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*arguments: Any, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    addresses = ["192.0.2.1", "127.0.0.1"]
    (ours,) = listening_sockets(Listen("name", 0))
    assert ours.getsockname()[0] == "127.0.0.1"
    ours.close()
    addresses = ["192.0.2.1"]
    with pytest.raises(OSError, match="assign"):
        listening_sockets(Listen("name", 0))


def test_the_unix_socket_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "exapp.sock"
    for _ in range(2):
        (ours,) = listening_sockets(Listen("", 0, path))
        assert path.stat().st_mode & 0o777 == 0o666
        ours.close()


# Real processes.


@asynccontextmanager
async def slow_peers(app: Running, unix_socket: Path | None, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """This many connections with incomplete requests."""
    readers: list[asyncio.StreamReader] = []
    async with AsyncExitStack() as stack:
        for number in range(count):
            if number % (BACKLOG // 4) == 0:
                await app.healthy(20)  # so that the backlog never overflows: the kernel would refuse the connection
            if unix_socket is not None:
                reader, writer = await asyncio.open_unix_connection(unix_socket)
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", app.client.base_url.port)
            stack.callback(writer.close)
            readers.append(reader)
            writer.write(BEGUN)
        yield readers


async def closed(reader: asyncio.StreamReader) -> None:
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_half_open_requests_block_neither_the_heartbeat_nor_the_log(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "exapp.sock" if kind == "unix" else None
    harp = {} if path is None else {"HP_SHARED_KEY": "shared-key-of-the-tests", "HP_EXAPP_SOCK": str(path)}
    async with running("tests.ex_app.process", UNREACHABLE | harp, path, descriptors=(128, 128)) as app:
        pid = app.process.pid
        async with slow_peers(app, path, 400) as readers:
            for _ in range(5):
                await app.healthy(20)
            assert process_stats.usage(pid).descriptors < 64, "most are left for calls"
            async with asyncio.timeout(30):
                await asyncio.gather(*map(closed, readers))
        _, printed = await app.stop()
        assert len(printed) < 20_000, printed[-2000:]


async def test_malformed_requests_do_not_fill_the_log() -> None:
    async with running("tests.ex_app.process", UNREACHABLE) as app:
        for _ in range(100):
            reader, writer = await asyncio.open_connection("127.0.0.1", app.client.base_url.port)
            writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()
        _, printed = await app.stop()
    lines = [json.loads(line)["message"] for line in printed.splitlines()]
    assert 1 <= lines.count("Invalid HTTP request received.") <= 5


async def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_one() -> None:
    async with running("tests.ex_app.process", UNREACHABLE, descriptors=(64, 512)) as app:
        assert resource.prlimit(app.process.pid, resource.RLIMIT_NOFILE) == (512, 512)


async def test_a_shortage_of_descriptors_is_logged_once_and_then_over() -> None:
    async with running("tests.ex_app.process", UNREACHABLE, descriptors=(256, 256)) as app:
        pid = app.process.pid
        await app.client.aclose()
        await asyncio.sleep(0.2)
        used = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, 256))
        cpu_s = process_stats.cpu_seconds(pid)
        port = app.client.base_url.port
        peers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
        await asyncio.sleep(2.5)
        assert process_stats.cpu_seconds(pid) - cpu_s < 1.0, "accept is not tried all the time"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (256, 256))
        for _, writer in peers:
            writer.close()
        async with asyncio.timeout(30):
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /heartbeat HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
                if answer.startswith(b"HTTP/1.1 200"):
                    break
        _, printed = await app.stop()
    assert printed.count("New HTTP connections cannot be accepted") == 1, printed
    assert len(printed) < 20_000


async def test_calls_beyond_the_descriptor_limit_are_refused_and_the_app_still_answers() -> None:
    """An HPB that accepts connections and sends nothing holds one descriptor per room."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    hpb = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    async with silent, running("ex_app.main", UNREACHABLE | {"LT_HPB_URL": hpb}, descriptors=(160, 160)) as app:

        async def ask(room: int) -> dict[str, Any]:
            body = {"roomToken": f"room{room}", "ncSessionId": "nc1", "enable": True}
            headers = credentials() | {"Connection": "close"}
            answer = await app.client.post("/api/v1/call/transcribe", json=body, headers=headers, timeout=30)
            assert answer.status_code == 503
            found: dict[str, Any] = answer.json()
            return found

        answers: list[dict[str, Any]] = []
        for first in range(0, 90, 15):
            answers += await asyncio.gather(*(ask(room) for room in range(first, first + 15)))
            await app.healthy(20)
        refused = [answer["error"] for answer in answers if "Too many files are open" in answer["error"]]
        assert 0 < len(refused) < len(answers)
        assert process_stats.usage(app.process.pid).descriptors < 145
        _, printed = await app.stop()
    assert "No new HTTP connections" not in printed
    assert len(printed) < 200_000

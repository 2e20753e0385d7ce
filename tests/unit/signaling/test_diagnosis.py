# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The errors for an unreachable HPB name the cause and the remedy, and never contain credentials."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.server import serve

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingUnreachable
from live_transcription.runtime.backoff import Backoff
from live_transcription.signaling.connection import SignalingConnection
from live_transcription.signaling.events import SessionStarted
from live_transcription.signaling.hello_guard import HelloGuard
from live_transcription.types import Secret
from tests.certificates import self_signed
from tests.unit.signaling.hpb_stub import SECRET, HpbStub


@pytest.fixture
def server_tls(tmp_path: Path) -> ssl.SSLContext:
    return self_signed(tmp_path / "server.pem")


def client_of(url: str, *, verify: bool = True) -> SignalingConnection:
    config = HpbConfig(url, Secret(SECRET), "https://cloud.example.com", verify_certificates=verify)
    return SignalingConnection(config, "room", guard=HelloGuard(), backoff=Backoff(lambda: 1.0, first_s=60, cap_s=60))


async def why_not(url: str) -> str:
    client = client_of(url)
    task = asyncio.create_task(client.run())
    async with asyncio.timeout(10):
        while client.last_error is None:  # noqa: ASYNC110 - the error is a property, polled by the service too
            await asyncio.sleep(0.005)
    await client.close()
    await task
    assert isinstance(client.last_error, SignalingUnreachable)
    assert client.last_error.retryable
    assert client.last_error.fix
    assert "password" not in str(client.last_error)
    return str(client.last_error)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(answer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_nothing_listens() -> None:
    assert "is listening at" in await why_not("ws://127.0.0.1:1")


async def test_a_name_that_does_not_resolve() -> None:
    assert "nowhere.invalid cannot be resolved" in await why_not("wss://user:password@nowhere.invalid")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (b"404 Not Found", "/standalone-signaling"),
        (b"403 Forbidden", "403"),
        (b"502 Bad Gateway", "the backend is not running"),
        (b"503 Service Unavailable", "the backend is not running"),
    ],
)
async def test_a_web_server_that_passes_no_websockets_on(status: bytes, expected: str) -> None:
    async with answering(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") as host:
        text = await why_not(f"ws://user:password@{host}")
        assert expected in text
        assert host in text


async def test_a_server_that_speaks_no_http() -> None:
    async with answering(b"SSH-2.0-example\r\n") as host:
        assert "does not speak the websocket protocol" in await why_not(f"ws://{host}")


async def test_a_proxy_whose_backend_is_down() -> None:
    async with answering(b"") as host:
        text = await why_not(f"ws://user:password@{host}")
        assert "closed it without an answer" in text
        assert "running behind its proxy" in text
        assert host in text


async def test_tls_to_a_port_without_tls() -> None:
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10) as host:
        assert "TLS with" in await why_not(f"wss://{host}")


async def test_an_untrusted_certificate_is_refused_unless_the_settings_allow_it(server_tls: ssl.SSLContext) -> None:
    stub = HpbStub()
    async with serve(stub.serve_one, "127.0.0.1", 0, ssl=server_tls, close_timeout=0.2) as server:
        url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        text = await why_not(url)
        assert "certificate" in text
        assert "LT_SKIP_CERT_VERIFY" in text
        client = client_of(url, verify=False)
        task = asyncio.create_task(client.run())
        assert isinstance(await client.next_event(), SessionStarted)
        await client.close()
        await task

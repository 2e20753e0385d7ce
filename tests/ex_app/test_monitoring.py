# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The listener of its own for metrics and health, the token that opens them, and the documented commands."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shlex
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from ex_app.application import create_app
from ex_app.identity import Listen
from ex_app.monitoring import MonitoringListener
from ex_app.settings.read import read_settings
from live_transcription.types import Secret
from sandbox.ports import free_port
from tests.ex_app.fakes import ENVIRONMENT, FakeEngine, FakeNextcloud, credentials
from tests.ex_app.test_server import running

DOCS = Path(__file__).parents[2] / "docs" / "monitoring.md"
TOKEN = "token-of-the-tests-1"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def listening(host: str = "127.0.0.1", **environment: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the listener."""
    port = free_port()
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    app = create_app({**ENVIRONMENT, "LT_METRICS_LISTEN": address, **environment}, FakeEngine(), FakeNextcloud())
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=5) as client,
    ):
        async with asyncio.timeout(10):
            while True:
                try:
                    await client.get("/healthz")
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)
                else:
                    break
        yield client


async def test_the_listener_has_the_metrics_and_the_health_and_nothing_else() -> None:
    async with listening() as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert "live_transcription_calls 0.0" in answer.text
        assert "targets" in (await client.get("/healthz")).json()
        for path in ("/", "/heartbeat", "/init", "/admin/page", "/js/live_transcription-api.js", "/metrics/", "//metrics"):
            assert (await client.get(path, headers=credentials())).status_code == 404, path
        assert (await client.put("/enabled?enabled=0", headers=credentials())).status_code == 404
        assert (await client.post("/metrics")).status_code == 404


async def test_the_listener_ends_with_the_app() -> None:
    async with listening() as client:
        pass
    async with httpx.AsyncClient(trust_env=False) as later:
        with pytest.raises(httpx.ConnectError):
            await later.get(f"{client.base_url}/healthz")


async def test_with_a_token_the_numbers_need_it_on_this_machine_too() -> None:
    async with listening(LT_METRICS_TOKEN=TOKEN) as client:
        answer = await client.get("/metrics")
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "Send the token for the metrics." in answer.text, "the loopback is no exception here"
        for wrong in ("Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xfc"):
            assert (await client.get("/metrics", headers={"Authorization": wrong.encode("latin-1")})).status_code == 401, wrong
        assert set((await client.get("/healthz")).json()) == {"status", "reasons"}
        assert (await client.get("/metrics", headers=BEARER)).status_code == 200
        assert (await client.get("/metrics", headers={"Authorization": f"bearer {TOKEN}"})).status_code == 200
        assert "calls" in (await client.get("/healthz", headers=BEARER)).json()


async def test_the_listener_speaks_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with listening("::1") as client:
        assert (await client.get("/metrics")).status_code == 200


async def test_the_token_also_opens_the_apps_own_port_and_nothing_but_the_numbers() -> None:
    app = create_app(ENVIRONMENT | {"LT_METRICS_TOKEN": TOKEN}, FakeEngine(), FakeNextcloud())
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 4711))
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers=BEARER)).status_code == 200
        assert (await client.get("/admin/settings", headers=BEARER)).status_code == 401
        assert (await client.get("/setup_checks", headers=BEARER)).status_code == 401
        await client.put(
            "/admin/settings",
            json={"settings": {"lt_metrics_token": "another-token-of-the-tests"}},
            headers=credentials() | {"X-Live-Transcription": "1"},
        )
        assert (await client.get("/metrics", headers=BEARER)).status_code == 401


async def test_without_a_token_no_token_opens_anything(anybody: httpx.AsyncClient) -> None:
    for header in ("Bearer", f"Bearer {TOKEN}"):
        assert (await anybody.get("/metrics", headers={"Authorization": header})).status_code == 401


async def test_an_address_in_use_is_one_line_in_the_log_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[float] = []
    served = asyncio.Event()

    async def sleep(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 3:
            taken.close()
        if len(tries) > 3:  # the listener was cancelled or failed
            served.set()

    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    app = create_app(ENVIRONMENT, FakeEngine(), FakeNextcloud())
    listener = MonitoringListener(app, Listen("127.0.0.1", port), lambda: Secret(""), sleep=sleep)
    task = asyncio.create_task(listener.run())
    async with asyncio.timeout(10), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        while True:
            try:
                answer = await client.get("/nothing")
            except httpx.TransportError:
                await asyncio.sleep(0.01)
            else:
                break
    assert answer.status_code == 404
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert f"127.0.0.1:{port}" in lines[0]
    assert "Address already in use" in lines[0]
    assert tries == [60.0, 60.0, 60.0]


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_the_machine_does_not_have_stops_nothing(caplog: pytest.LogCaptureFixture, host: str) -> None:
    stopped = asyncio.Event()

    async def sleep(_: float) -> None:
        stopped.set()
        await asyncio.sleep(3600)

    app = create_app(ENVIRONMENT, FakeEngine(), FakeNextcloud())
    task = asyncio.create_task(MonitoringListener(app, Listen(host, 9464), lambda: Secret(""), sleep=sleep).run())
    async with asyncio.timeout(30):
        await stopped.wait()
    task.cancel()
    assert [record.levelname for record in caplog.records if "LT_METRICS_LISTEN" in record.getMessage()] == ["ERROR"]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464),
        ("[::1]:9464", "::1", 9464),
        ("[::]:9464", "::", 9464),
        (":9464", "", 9464),
        ("metrics.internal:1", "metrics.internal", 1),
    ],
)
def test_where_the_listener_listens(text: str, host: str, port: int) -> None:
    settings = read_settings(ENVIRONMENT | {"LT_METRICS_LISTEN": text})
    assert settings.metrics_listen == Listen(host, port)
    assert settings.problems == ()


@pytest.mark.parametrize(
    "text",
    [
        "9464", "::1:9464", "[::1]", "[]:1", "a b:1", "x:0", "x:65536", "x:99999999", "x:\u0663", "[1.2.3.4]:1", "http://x:1",
        "x:", "*:1",
    ],
)  # fmt: skip
def test_a_malformed_address_is_one_problem_and_no_listener(text: str) -> None:
    settings = read_settings(ENVIRONMENT | {"LT_METRICS_LISTEN": text})
    assert settings.metrics_listen is None
    (problem,) = settings.problems
    assert problem.setting == "LT_METRICS_LISTEN"
    assert "127.0.0.1:9464" in str(problem)
    assert settings.blocking == ()


def test_the_apps_own_port_is_refused_unless_the_app_has_none() -> None:
    own = ENVIRONMENT | {"APP_PORT": "9464", "LT_METRICS_LISTEN": "127.0.0.1:9464"}
    (problem,) = read_settings(own).problems
    assert "own port" in str(problem)
    assert read_settings(own).metrics_listen is None
    assert read_settings(own | {"HP_SHARED_KEY": "key"}).metrics_listen == Listen("127.0.0.1", 9464)


@pytest.mark.parametrize("token", ["short", "with a space in the token", "t\u00f6ken-of-the-tests-1", "x" * 256])
def test_a_token_that_a_header_cannot_have_or_anybody_can_guess_is_refused(token: str) -> None:
    settings = read_settings(ENVIRONMENT | {"LT_METRICS_TOKEN": token})
    assert not settings.metrics_token
    (problem,) = settings.problems
    assert token not in str(problem)


def test_the_token_is_a_secret() -> None:
    settings = read_settings(ENVIRONMENT | {"LT_METRICS_TOKEN": TOKEN})
    assert Secret(TOKEN) in settings.secrets
    assert TOKEN not in repr(settings)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_documented_commands_work_in_a_container_behind_harp(tmp_path: Path) -> None:
    """Every curl command of docs/monitoring.md, with this test's socket, port and token."""
    path, port = tmp_path / "exapp.sock", free_port()
    commands = re.findall(r"^(?: {4}docker exec \S+ )?(?: {4})?(curl .+)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) >= 3
    environment = ENVIRONMENT | {"HP_SHARED_KEY": "shared-key-of-the-tests", "HP_EXAPP_SOCK": str(path)}
    environment |= {"NEXTCLOUD_URL": "http://127.0.0.1:9", "LT_METRICS_LISTEN": f"127.0.0.1:{port}", "LT_METRICS_TOKEN": TOKEN}
    async with running("tests.ex_app.process", environment, path) as app:
        async with asyncio.timeout(10):
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                await asyncio.sleep(0.05)
        for command in commands:
            words = shlex.split(
                command.replace("/tmp/exapp.sock", str(path)).replace("9464", str(port)).replace("$TOKEN", TOKEN)
            )
            curl = await asyncio.create_subprocess_exec(*words, "--fail", "--noproxy", "*", stdout=asyncio.subprocess.PIPE)
            printed, _ = await curl.communicate()
            assert curl.returncode == 0, command
            if words[-1].endswith("/metrics"):
                assert b"live_transcription_calls " in printed, command
            else:
                assert "reasons" in json.loads(printed), command
        _, log = await app.stop()
    assert TOKEN not in log

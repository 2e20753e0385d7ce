# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Real processes: port, unix socket, shutdown, and what they print."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sandbox.nextcloud import Nextcloud
from sandbox.ports import free_port
from tests.ex_app.fakes import ENVIRONMENT, SECRET, credentials

ROOT = Path(__file__).parents[2]
TRANSCRIBE = "/api/v1/call/transcribe"
#: Seconds after SIGTERM at which scripts/supervise.sh kills the app.
SUPERVISOR_KILLS_S = 8.0


@dataclass
class Running:
    process: asyncio.subprocess.Process
    client: httpx.AsyncClient

    async def stop(self) -> tuple[float, str]:
        """Seconds from SIGTERM to the end, and the output."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        out, _ = await self.process.communicate()
        assert self.process.returncode == 0, out.decode()
        return time.monotonic() - started, out.decode()

    async def healthy(self, within_s: float = 10.0) -> None:
        """Waits for a heartbeat."""
        async with asyncio.timeout(within_s):
            while True:
                try:
                    answer = await self.client.get("/heartbeat")
                except httpx.TransportError:
                    if self.process.returncode is not None:
                        pytest.fail((await self.process.communicate())[0].decode())
                    await asyncio.sleep(0.05)
                else:
                    assert answer.json() == {"status": "ok"}
                    return


@asynccontextmanager
async def running(
    module: str,
    environment: dict[str, str],
    unix_socket: Path | None = None,
    *,
    descriptors: tuple[int, int] | None = None,
    ready: bool = True,
) -> AsyncIterator[Running]:
    """`descriptors`: soft and hard limit. `ready`: wait until it answers."""
    port = free_port()
    limit = () if descriptors is None else ("prlimit", f"--nofile={descriptors[0]}:{descriptors[1]}")
    process = await asyncio.create_subprocess_exec(
        *limit,
        sys.executable,
        "-m",
        module,
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'lib'}:{ROOT}",
            "APP_PORT": str(port),
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    transport = httpx.AsyncHTTPTransport(uds=str(unix_socket)) if unix_socket else None
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", transport=transport, trust_env=False) as client:
        app = Running(process, client)
        try:
            if ready:
                await app.healthy(60)
            yield app
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def test_a_process_serves_and_ends_before_docker_would_kill_it() -> None:
    environment = ENVIRONMENT | {"NEXTCLOUD_URL": "http://127.0.0.1:9", "LOG_LEVEL": "DEBUG"}
    async with running("tests.ex_app.process", environment) as app:
        body = {"roomToken": "abc", "ncSessionId": "nc1", "enable": True}
        assert (await app.client.post(TRANSCRIBE, json=body, headers=credentials())).status_code == 200
        assert (await app.client.post(TRANSCRIBE, json=body, headers=credentials(secret="wrong-secret"))).status_code == 401
        assert (await app.client.get("/metrics")).status_code == 200
        hanging = asyncio.create_task(app.client.post(TRANSCRIBE, json=body | {"roomToken": "hang"}, headers=credentials()))
        await asyncio.sleep(0.2)
        took, printed = await app.stop()
        assert took < 8, "Docker kills a container 10 s after SIGTERM; a request that hangs would take an hour"
        assert isinstance((await asyncio.gather(hanging, return_exceptions=True))[0], httpx.TransportError | httpx.Response)
    lines = [json.loads(line) for line in printed.splitlines()]
    assert {line["level"] for line in lines} <= {"debug", "info", "warning", "error"}
    for secret in (SECRET, "wrong-secret", "internal-secret-of-the-tests", credentials()["AUTHORIZATION-APP-API"], "user-1"):
        assert secret not in printed


async def test_app_api_installs_enables_and_disables_the_app() -> None:
    async with Nextcloud() as cloud:
        app = cloud.app_api.register()
        environment = cloud.app_api.environment(app, port=0) | {"LOG_LEVEL": "INFO"}
        del environment["APP_PORT"]
        async with running("tests.ex_app.process", environment) as started:
            app.url = str(started.client.base_url)
            await cloud.app_api.install(app, timeout_s=30)
            assert app.progress_reports == [100]
            answer = await cloud.talk.enable_captions("abc123", "nc1", "user-1")
            assert answer.ok
            assert await cloud.app_api.disable(app)
            _, printed = await started.stop()
    assert app.secret not in printed


async def test_under_harp_it_listens_on_the_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "exapp.sock"
    environment = ENVIRONMENT | {"HP_SHARED_KEY": "shared-key-of-the-tests", "HP_EXAPP_SOCK": str(path)}
    environment |= {"NEXTCLOUD_URL": "http://127.0.0.1:9"}
    async with running("tests.ex_app.process", environment, path) as app:
        async with asyncio.timeout(10):
            while (await app.client.get("/healthz")).json() != {"status": "degraded", "reasons": ["nextcloud"]}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await app.client.get("/metrics")).status_code == 401
        assert (await app.client.get("/capabilities", headers=credentials())).status_code == 200
        await app.stop()


async def test_without_settings_the_app_answers_and_names_what_is_missing() -> None:
    environment = {"APP_SECRET": SECRET, "LOG_LEVEL": "loud", "MODAL_KEY": "wk-1234567", "LT_MOSHI_URL": "ws://stt.example.com"}
    async with running("ex_app.main", environment) as app:
        assert (await app.client.get("/heartbeat")).json() == {"status": "ok"}
        assert (await app.client.get("/healthz")).json()["status"] == "failed"
        body = {"roomToken": "abc", "ncSessionId": "nc1", "enable": True}
        answer = await app.client.post(TRANSCRIBE, json=body, headers=credentials())
        assert answer.status_code == 503
        assert "LT_HPB_URL is not set" in answer.json()["error"]
        took, printed = await app.stop()
        assert took < SUPERVISOR_KILLS_S
    lines = [json.loads(line) for line in printed.splitlines()]
    named = [line["setting"] for line in lines if "setting" in line]
    expected = {"NEXTCLOUD_URL", "LT_HPB_URL", "LT_INTERNAL_SECRET", "LOG_LEVEL", "MODAL_WORKSPACE", "MODAL_SECRET"}
    assert sorted(named) == sorted(expected)
    assert [line["level"] for line in lines if "Without TLS: the connection to the moshi-server" in line["message"]] == [
        "warning"
    ]
    assert "1234567" not in printed

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The model server as a process: here it is the moshi stand-in's command."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from deploy.model_server import ModelServer, ModelServerFailed
from deploy.proxy import modules_info
from sandbox.ports import free_port


def stand_in(port: int) -> list[str]:
    return [sys.executable, "-m", "sandbox.stt_servers.moshi", "--port", str(port), "--words", "script:hello"]


async def test_it_is_ready_when_a_session_could_begin_and_comes_back_after_a_crash() -> None:
    port = free_port()
    server = ModelServer(stand_in(port), f"127.0.0.1:{port}")
    try:
        await asyncio.to_thread(server.start, 60)
        assert (await asyncio.to_thread(modules_info, server.address))[0]["total_slots"] == "64"
        assert server._process is not None
        server._process.kill()
        async with asyncio.timeout(60):
            while not server.restarts or not await asyncio.to_thread(server._hears):  # noqa: ASYNC110  a process sets no event
                await asyncio.sleep(0.1)
    finally:
        await asyncio.to_thread(server.stop)
    with pytest.raises(OSError, match=r"refused|reset"):
        modules_info(server.address)


def test_a_server_that_ends_while_starting_is_no_server() -> None:
    server = ModelServer([sys.executable, "-c", "raise SystemExit(3)"], f"127.0.0.1:{free_port()}")
    with pytest.raises(ModelServerFailed, match="ended with 3"):
        server.start(30)


def test_a_server_that_never_hears_is_stopped() -> None:
    server = ModelServer([sys.executable, "-c", "import time; time.sleep(60)"], f"127.0.0.1:{free_port()}")
    with pytest.raises(ModelServerFailed, match="not ready"):
        server.start(0.3)
    assert server._process is not None
    assert server._process.poll() is not None


def test_one_that_keeps_dying_makes_its_container_refuse_work() -> None:
    lost = threading.Event()
    server = ModelServer([sys.executable, "-c", "raise SystemExit(1)"], "127.0.0.1:1", on_lost=lost.set, most_restarts=1)
    server._process = subprocess.Popen(server._command)
    watcher = threading.Thread(target=server._watch, daemon=True)
    watcher.start()
    assert lost.wait(30)
    server.stop()
    assert server.restarts == 1

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The model server as a process: here it is the moshi stand-in's command."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest

from deploy.model_server import ModelServer, ModelServerFailed
from deploy.proxy import modules_info
from sandbox.ports import free_port

#: Serves the first time that it is started, and ends at once from then on.
ONLY_ONCE = """
import pathlib, runpy, sys
was_here = pathlib.Path(sys.argv.pop(1))
if was_here.exists():
    raise SystemExit(1)
was_here.touch()
runpy.run_module("sandbox.stt_servers.moshi", run_name="__main__", alter_sys=True)
"""


def stand_in(port: int) -> list[str]:
    return [sys.executable, "-m", "sandbox.stt_servers.moshi", "--port", str(port), "--words", "script:hello"]


async def test_it_is_ready_when_a_session_could_begin_and_comes_back_after_a_crash() -> None:
    port = free_port()
    server = ModelServer(stand_in(port), f"127.0.0.1:{port}")
    try:
        await asyncio.to_thread(server.start, 60)
        assert (await asyncio.to_thread(modules_info, server.address))[0]["total_slots"] == "64"
        assert server.process is not None
        server.process.kill()
        async with asyncio.timeout(60):
            while not server.restarts or not await asyncio.to_thread(server.hears):  # noqa: ASYNC110  a process sets no event
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
    assert server.process is not None
    assert server.process.poll() is not None


def test_one_that_keeps_dying_makes_its_container_refuse_work(tmp_path: Path) -> None:
    lost = threading.Event()
    port = free_port()
    command = [sys.executable, "-c", ONLY_ONCE, str(tmp_path / "was here"), *stand_in(port)[3:]]
    server = ModelServer(command, f"127.0.0.1:{port}", on_lost=lost.set, most_restarts=1)
    try:
        server.start(60)
        assert server.process is not None
        server.process.kill()
        assert lost.wait(60)
    finally:
        server.stop()
    assert server.restarts == 1

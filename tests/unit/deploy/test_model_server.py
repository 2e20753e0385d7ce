# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The model server as a process: here it is the moshi stand-in's command."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest

from deploy.model_server import DEAD_S, PROBE_EVERY_S, Answer, Liveness, ModelServer, ModelServerFailed
from deploy.proxy import modules_info
from sandbox.ports import free_port
from sandbox.stt_servers.moshi import MoshiStandIn
from sandbox.stt_servers.words import evenly, scripted
from tests.unit.sandbox_stt_servers.clients import open_socket, until

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


def test_a_process_that_answers_no_probe_is_restarted_after_ten_seconds() -> None:
    liveness = Liveness(100.0, 600.0, ready=True)
    assert liveness.probe_at == 100.0 + PROBE_EVERY_S
    assert not liveness.answered(Answer.READY, 105.0, 105.0)
    assert not liveness.answered(Answer.NONE, 110.0, 115.0)
    assert liveness.probe_at == 115.0
    assert not liveness.answered(Answer.NONE, 115.0, 119.9)
    assert liveness.answered(Answer.NONE, 119.9, 110.0 + DEAD_S)


@pytest.mark.parametrize("answer", [Answer.READY, Answer.BUSY])
def test_an_answer_ends_the_suspicion(answer: Answer) -> None:
    liveness = Liveness(0.0, 600.0, ready=True)
    assert not liveness.answered(Answer.NONE, 5.0, 14.0)
    assert not liveness.answered(answer, 14.0, 14.9)
    assert not liveness.answered(Answer.NONE, 19.9, 24.9)


def test_a_restarted_process_has_time_to_load_its_model() -> None:
    liveness = Liveness(0.0, 600.0)
    assert not liveness.answered(Answer.NONE, 5.0, 5.0)
    assert liveness.probe_at == 6.0, "a refused connection is not asked again at once"
    assert not liveness.answered(Answer.NONE, 598.0, 599.0)
    assert liveness.answered(Answer.NONE, 599.0, 600.0)


async def test_a_probe_tells_a_full_server_from_one_whose_model_loop_is_dead() -> None:
    async with MoshiStandIn(scripted(evenly("hello")), batch_size=1) as model:
        server = ModelServer([], f"{model.host}:{model.port}")
        assert await asyncio.to_thread(server.probe, 5.0) is Answer.READY
        await until(lambda: not model.model.used_slots)
        async with open_socket(f"ws://{server.address}/api/asr-streaming", kyutai_api_key="public_token") as client:
            await client.recv()
            assert await asyncio.to_thread(server.probe, 5.0) is Answer.BUSY
            model.model.die()
        assert await asyncio.to_thread(server.probe, 5.0) is Answer.NONE, "a slot without a client"

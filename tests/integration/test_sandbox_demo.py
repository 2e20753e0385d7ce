# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`python -m sandbox.demo` as `make demo` starts it, with short recordings: it rates the captions and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(find_spec("faster_whisper") is None, reason="faster-whisper is not installed"),
]


@asynccontextmanager
async def demo(directory: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "lib")))}
    command = (sys.executable, "-m", "sandbox.demo", "--port", "0", *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=directory, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def children(process: asyncio.subprocess.Process) -> set[int]:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return {int(child) for child in listed.read_text().split()} if listed.exists() else set()


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "\nState:\tZ" not in status.read_text()


async def test_once_judges_the_captions_and_ends_well(tmp_path: Path) -> None:
    async with demo(tmp_path, "--once", "--recordings", "en-short,fr-short") as process:
        output, _ = await asyncio.wait_for(process.communicate(), 100)
    text = output.decode()
    assert "unable to locate" in text
    found = json.loads((tmp_path / "build" / "demo.json").read_text())
    assert process.returncode == (1 if found["faults"] else 0), text
    # The recordings have 14 words, and on a busy machine the engine gets shorter pieces of them.
    assert all("word error rate" in fault for fault in found["faults"]), text
    assert max(found["wer_en"], found["wer_fr"]) <= 0.4, text
    for name in ("first_word_p50_s", "last_word_p50_s", "join_to_audio_s"):
        assert found[name] > 0
    assert "unable to locate" not in (tmp_path / "build" / "demo" / "app.log").read_text()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux to see a process's children")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_demo_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    async with demo(tmp_path, "--recordings", "en-short") as process:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while b"captioned" not in await process.stdout.readline():
                pass
        started = children(process)
        assert len(started) == 2  # signaling and the app
        process.send_signal(number)
        await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    assert not [pid for pid in started if alive(pid)]

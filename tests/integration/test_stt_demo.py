# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`make demo STT=modal` and `STT=moshi`: the whole product with a stand-in for the GPU server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("engine", ["modal", "moshi"])
async def test_a_stand_in_for_the_gpu_server_captions_the_call(tmp_path: Path, engine: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "lib")))}
    command = (sys.executable, "-m", "sandbox.demo", "--port", "0", "--once", "--stt", engine, "--recordings", "en-short")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode()
    assert process.returncode == 0, text
    assert "stand-in for" in text
    assert ("The GPU sleeps" in text) == (engine == "modal")
    found = json.loads((tmp_path / "build" / "demo.json").read_text())
    assert found["engine"] == engine
    assert found["wer_en"] == 0
    assert found["words_served"] == 13
    log = (tmp_path / "build" / "demo" / "app.log").read_text()
    assert "wk-" not in log
    assert "unable to locate" not in log

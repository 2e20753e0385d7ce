# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The stand-ins as processes, as the demo starts them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from live_transcription.stt.embedded import weights
from sandbox import recording
from sandbox.word_error_rate import word_errors
from tests.unit.sandbox_stt_servers.clients import ModalClient, closing, open_socket, silence, tone


@contextlib.asynccontextmanager
async def command(module: str, *arguments: str) -> AsyncIterator[dict[str, Any]]:
    """The process's output once it is ready. It ends cleanly with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"sandbox.stt_servers.{module}", "--port", "0", *arguments), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_modal_as_a_process_with_a_fault_and_a_key() -> None:
    arguments = ("--words", "script:Good morning", "--key", "wk-1", "--secret", "ws-1", "--fault", "cut,after_s=1.4,times=1")
    async with command("modal", *arguments) as ready:
        assert (ready["stand_in"], ready["delay_s"]) == ("modal", 0.48)
        key = {"Modal_Key": "wk-1", "Modal_Secret": "ws-1"}
        async with open_socket(ready["stream_url"], **key) as socket:
            await ModalClient(socket).send(tone(1.44))
            assert (await closing(socket))[0] is None
        async with open_socket(ready["stream_url"], **key) as socket:
            await ModalClient(socket).send(tone(1.44))
            assert (await ModalClient(socket).reply())["text"] == "Good"


@pytest.mark.model
@pytest.mark.skipif(not weights.bundled().installed, reason="the weights of Whisper base are not installed")
async def test_the_embedded_engine_behind_a_stand_in_hears_what_was_said() -> None:
    spoken = recording.load("en-short")
    pcm = spoken.pcm(24_000).astype("<f4")
    async with command("modal", "--announce") as ready, open_socket(ready["stream_url"]) as socket:
        client = ModalClient(socket)
        await client.send(pcm)
        await client.send(silence(2.0))
        words: list[str] = []
        while (reply := json.loads(await asyncio.wait_for(socket.recv(), 60)))["type"] != "vad_end":
            words += [reply["text"]] if reply["type"] == "token" else []
        errors = word_errors(spoken.text, " ".join(words), "en")
        assert errors.errors <= 0.2 * errors.words

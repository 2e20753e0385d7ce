# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Opening and closing streams, including failing ones, leaks nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections import Counter

import pytest
from websockets.asyncio.server import ServerConnection, serve

from live_transcription.audio_store.budget import PROCESS_BUDGET
from live_transcription.config import ModalConfig, SttConfig
from live_transcription.errors import SttError
from live_transcription.stt.engines import SttRegistry
from live_transcription.stt.sockets import sockets
from tests.unit.stt.kyutai.kyutai_model import speech

FRAMES = speech(0, 4)


async def serve_some(connection: ServerConnection) -> None:
    """End one third of the sessions at once and one third after some audio; serve the others."""
    serve_some.sessions += 1  # type: ignore[attr-defined]
    kind = serve_some.sessions % 3  # type: ignore[attr-defined]
    if kind == 0:
        connection.transport.abort()
        return
    async for _ in connection:
        if kind == 1:
            return
        await connection.send('{"type": "token", "text": "word"}')


async def use(registry: SttRegistry) -> None:
    try:
        async with registry.backend().open_stream("en") as stream:
            for frame in FRAMES:
                await stream.send(frame)
            async with asyncio.timeout(0.05):
                async for _ in stream.events():
                    break
    except (SttError, TimeoutError):
        return


def live() -> Counter[str]:
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects())


@pytest.mark.parametrize("reachable", [True, False])
async def test_streams_leave_nothing_behind(reachable: bool) -> None:
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    serve_some.sessions = 0  # type: ignore[attr-defined]
    async with serve(serve_some, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1] if reachable else 9
        registry = SttRegistry(SttConfig(embedded=None, modal=ModalConfig(url=f"ws://127.0.0.1:{port}")))

        async def many(count: int) -> None:
            for _ in range(count // 20):
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(20):
                        tasks.create_task(use(registry))
            await asyncio.sleep(0.1)

        await many(40)
        before, files, tasks = live(), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        await many(int(os.environ.get("LEAK_STREAMS", "200")))
        after = live()
        assert len(asyncio.all_tasks()) <= tasks
        assert len(os.listdir("/proc/self/fd")) <= files + 2
        grown = {name: after[name] - before[name] for name in after if after[name] - before[name] > 60}
        assert not grown
        assert PROCESS_BUDGET.used_bytes == 0
        assert sockets.open == 0
        await registry.aclose()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The programs of a container on Modal, on this machine: ModelServer, a real moshi-server, the proxy; and our Modal engine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import httpx
import numpy as np
import pytest

from deploy.model_server import ModelServer
from deploy.proxy import Proxy, ProxySettings
from live_transcription.config import ModalConfig
from live_transcription.errors import SttAtCapacity
from live_transcription.stt.kyutai.modal.backend import ModalBackend
from live_transcription.stt.resilient.backend import ResilientBackend
from sandbox.die_with_parent import tethered
from sandbox.moshi_server import MoshiServer
from sandbox.moshi_server.speech import POISON, TAIL_FRAMES, say, silence
from sandbox.moshi_server.weights import WORDS
from tests.fakes.stt_counts import SttCounts
from tests.moshi.listener import PATIENCE_S, listening
from tests.unit.deploy.asgi import serving


@dataclass
class Deployment:
    """`address` of the proxy; `lost` counts the calls of `on_lost`."""

    model: ModelServer
    address: str
    counts: SttCounts = field(default_factory=SttCounts)
    lost: list[None] = field(default_factory=list)

    @property
    def engine(self) -> ModalBackend:
        return ModalBackend(ModalConfig(url=f"ws://{self.address}"))

    @property
    def backend(self) -> ResilientBackend:
        return ResilientBackend(self.engine)

    @property
    def pid(self) -> int:
        assert self.model.process is not None
        return self.model.process.pid

    async def health(self) -> int:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            return (await http.get(f"http://{self.address}/health")).status_code

    async def until_unhealthy(self) -> None:
        """A busy machine may transcribe audio long after it was sent."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.health() == 200:  # noqa: ASYNC110  another program sets no event
                await asyncio.sleep(0.1)


Deployments: TypeAlias = Callable[..., AbstractAsyncContextManager[Deployment]]


@pytest.fixture
def deployments(built: None, tmp_path: Path) -> Deployments:
    @asynccontextmanager
    async def run(name: str = "model", batch_size: int = 1) -> AsyncIterator[Deployment]:
        server = MoshiServer(tmp_path / name, batch_size=batch_size)
        lost: list[None] = []
        model = ModelServer(tethered(server.command), server.address, on_lost=lambda: lost.append(None))
        try:
            await asyncio.to_thread(model.start, PATIENCE_S)
            async with serving(Proxy(ProxySettings(server.address))) as address:
                yield Deployment(model, address, lost=lost)
        finally:
            if model.process is not None and model.process.poll() is None:
                os.kill(model.process.pid, signal.SIGCONT)
            await asyncio.to_thread(model.stop)

    return run


async def test_each_level_of_loudness_is_its_word_at_its_time(deployments: Deployments) -> None:
    async with deployments() as deployment, listening(deployment.engine) as listener:
        assert await deployment.health() == 200
        await listener.say(np.concatenate([silence(2), say(*WORDS[::2]), silence(TAIL_FRAMES)]))
        await listener.finish(after=12)
    assert listener.words == [*WORDS[::2]]
    times = [token.start_s for token in listener.tokens]
    assert times == pytest.approx([0.16 + 0.4 * place for place in range(12)], abs=1e-3)


async def test_a_model_that_is_killed_is_restarted_and_no_word_is_lost(deployments: Deployments) -> None:
    async with deployments() as deployment, listening(deployment.backend) as listener:
        saying = asyncio.create_task(listener.say(np.concatenate([say(*WORDS[:12]), silence(TAIL_FRAMES)])))
        await listener.until_words(4)
        os.kill(deployment.pid, signal.SIGKILL)
        await saying
        await listener.finish(after=12)
    assert listener.words == [*WORDS[:12]]
    assert deployment.model.restarts == 1
    assert deployment.counts.dropped_s == 0
    assert not deployment.lost


async def test_one_speaker_too_many_is_told_so(deployments: Deployments) -> None:
    async with deployments() as deployment, listening(deployment.engine) as first:
        await first.say(np.concatenate([say("alpha"), silence(TAIL_FRAMES)]))
        await first.until_words(1)
        async with listening(deployment.engine) as second:
            with pytest.raises(SttAtCapacity):
                await second.until_words(1)


async def test_a_model_that_is_dead_or_hangs_is_restarted(deployments: Deployments) -> None:
    async with deployments("dead", batch_size=2) as dead, deployments("hung") as hung:
        async with listening(dead.engine) as killer:
            await killer.say(np.concatenate([say(POISON), silence(TAIL_FRAMES)]))
            await dead.until_unhealthy()
        os.kill(hung.pid, signal.SIGSTOP)
        clock = asyncio.get_running_loop().time
        began = clock()
        assert await hung.health() == 503
        while not (dead.model.restarts and hung.model.restarts):
            for deployment in (dead, hung):
                # As speakers who come again.
                async with listening(deployment.backend) as listener:
                    await listener.stream.send(say("alpha"))
                    await asyncio.sleep(1.0)
            assert dead.model.restarts or await dead.health() == 503
            assert clock() < began + PATIENCE_S
        assert (dead.model.restarts, hung.model.restarts) == (1, 1)
        for deployment in (dead, hung):
            async with listening(deployment.backend) as listener:
                await listener.say(np.concatenate([say("bravo"), silence(TAIL_FRAMES)]))
                await listener.finish(after=1)
            assert listener.words == ["bravo"]


async def test_a_dead_model_is_not_called_full(deployments: Deployments) -> None:
    async with deployments() as deployment:
        async with listening(deployment.engine) as killer:
            await killer.say(np.concatenate([say(POISON), silence(TAIL_FRAMES)]))
            await deployment.until_unhealthy()
        async with listening(deployment.backend) as listener:
            await listener.stream.send(say("alpha"))
            async with asyncio.timeout(PATIENCE_S):
                while not deployment.counts.failures:  # noqa: ASYNC110  a counter sets no event
                    await asyncio.sleep(0.05)
        assert "stt_at_capacity" not in deployment.counts.failures


async def test_a_model_that_hangs_at_the_very_end_loses_no_word(deployments: Deployments) -> None:
    async with deployments() as deployment, listening(deployment.backend) as listener:
        await listener.say(np.concatenate([say(*WORDS[:4]), silence(TAIL_FRAMES)]))
        await listener.until_words(4)
        os.kill(deployment.pid, signal.SIGSTOP)
        await listener.say(say(*WORDS[4:8]))
        finishing = asyncio.create_task(listener.finish())
        await asyncio.sleep(2.0)
        os.kill(deployment.pid, signal.SIGCONT)
        await finishing
    assert listener.words == [*WORDS[:8]]

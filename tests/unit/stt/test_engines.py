# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The health of an engine that is the only one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from live_transcription.config import EmbeddedConfig, EngineConfig, HpbConfig, ModalConfig, SttConfig
from live_transcription.errors import SttError
from live_transcription.languages import AUTO, LANGUAGES
from live_transcription.service import TranscriptionService
from live_transcription.status import EngineState
from live_transcription.stt.engines import SttRegistry
from live_transcription.types import IceServer, Secret
from sandbox.virtual_clock import run
from tests.unit.stt.kyutai.modal.test_backend import FRAME, Proxy, words


async def no_servers() -> Sequence[IceServer]:
    return ()


def test_a_single_engine_counts_as_refused_until_it_accepts_the_credentials() -> None:
    async def scenario() -> None:
        async with Proxy(words, refusals=[401]).running() as proxy:
            stt = SttConfig(embedded=None, modal=ModalConfig(url=proxy.url, key=Secret("wk-key"), secret=Secret("ws-secret")))
            hpb = HpbConfig("wss://signaling.example.com", Secret("secret"), "https://cloud.example.com")
            registry = SttRegistry(stt)
            async with TranscriptionService(
                EngineConfig(hpb=hpb, stt=stt), no_servers, registry=registry, wall_clock=lambda: 0.0
            ) as service:
                (engine,) = service.speech_status().engines
                assert (engine.name, engine.state) == ("modal", "unknown")
                for state in ("refused", "up"):
                    with contextlib.suppress(SttError):
                        async with registry.backend().open_stream("en") as stream:
                            for _ in range(20):
                                await stream.send(FRAME)
                            await stream.end()
                            async for _ in stream.events():
                                pass
                    (engine,) = service.speech_status().engines
                    assert engine.state == state
                    assert bool(engine.problem) == (state == "refused")
                    assert service.status().dependencies[-1].name == "engine:modal"
                    assert service.status().dependencies[-1].state == {"refused": "failed", "up": "ok"}[state]
                await asyncio.sleep(60)
                assert service.status().dependencies[-1].state == "ok", "it has served"

    run(scenario())


def test_the_capacity_is_that_of_this_machine_while_no_server_works(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        embedded = EmbeddedConfig(slots=2)
        assert SttRegistry(SttConfig(embedded=embedded)).capacity == 8
        async with Proxy(words).running() as proxy:
            modal = ModalConfig(url=proxy.url, key=Secret("wk-key"), secret=Secret("ws-secret"))
            stt = SttRegistry(SttConfig(embedded=embedded, modal=modal))
            assert stt.capacity is None
            async with stt.engine("modal").open_stream("en"):  # type: ignore[union-attr]
                monkeypatch.setattr(stt, "health", lambda: (EngineState("modal", "full"), EngineState("whisper", "up")))
                assert stt.capacity == 9, "one speaker is still transcribed there"
            assert stt.capacity == 8
            monkeypatch.setattr(stt, "health", lambda: (EngineState("modal", "up"), EngineState("whisper", "full")))
            assert stt.capacity is None
            await stt.aclose()
        assert SttRegistry(SttConfig(embedded=None, modal=modal)).capacity is None

    run(scenario())


def test_every_multilingual_engine_offers_an_automatic_language_among_the_real_ones() -> None:
    servers = SttConfig(
        embedded=None, modal=ModalConfig(url="wss://a.example/v1/stream", key=Secret("wk-key"), secret=Secret("ws-secret"))
    )
    assert list(SttRegistry(servers).languages()) == ["en", "fr", AUTO]
    both = SttRegistry(SttConfig(embedded=EmbeddedConfig(detected=("de", "fr")), modal=servers.modal))
    assert list(both.languages())[-1] == AUTO
    assert set(both.languages()) <= {*LANGUAGES, AUTO}
    assert AUTO not in LANGUAGES

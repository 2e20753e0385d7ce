# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Requests that the service has to answer in time, or to refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from live_transcription.config import EngineConfig, HpbConfig
from live_transcription.errors import CallNotFound, CallUnavailable, UnknownLanguage
from live_transcription.service import TranscriptionService
from live_transcription.types import IceServer, Secret
from sandbox import virtual_clock
from tests.fakes.stt import FakeRegistry

#: Talk waits 3 s, AppAPI and its proxy take a part of that.
ANSWER_S = 1.7


def service(url: str) -> TranscriptionService:
    async def no_servers() -> Sequence[IceServer]:
        return ()

    config = EngineConfig(hpb=HpbConfig(url, Secret("secret"), "https://cloud.example.com"))
    return TranscriptionService(config, no_servers, registry=FakeRegistry(), wall_clock=lambda: 0.0)  # type: ignore[arg-type]


def test_a_request_is_answered_in_time_although_the_backend_says_nothing() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        silent = await asyncio.start_server(say_nothing, "127.0.0.1")
        port = silent.sockets[0].getsockname()[1]
        async with silent, service(f"ws://127.0.0.1:{port}") as ours:
            asked_at = loop.time()
            with pytest.raises(CallUnavailable) as failure:
                async with asyncio.timeout(60):
                    await ours.enable("room", "nc1")
            assert loop.time() - asked_at == pytest.approx(ANSWER_S, abs=0.2)
            assert failure.value.retryable
            assert ours.status().targets == 0, "who was refused gets no captions later"
            await ours.leave_all(0.0)

    virtual_clock.run(run())


def test_a_refused_reader_gets_no_captions_from_the_call_that_has_replaced_the_refusing_one() -> None:
    async def run() -> None:
        async with service("ws://127.0.0.1:9") as ours:
            asked = asyncio.create_task(ours.enable("room", "nc1"))
            await asyncio.sleep(0.5)
            assert [target for call in ours.export() for target, _ in call.targets] == ["nc1"]
            hpb = HpbConfig("ws://127.0.0.1:9", Secret("another"), "https://cloud.example.com")
            ours.apply(EngineConfig(hpb=hpb))
            with pytest.raises(CallUnavailable):
                await asked
            assert ours.export() == ()
            await ours.leave_all(0.0)

    virtual_clock.run(run())


def test_a_change_to_an_unknown_language_is_refused() -> None:
    async def run() -> None:
        async with service("ws://127.0.0.1:9") as ours:
            for language in ("tlh", "", "EN", "en "):
                with pytest.raises(UnknownLanguage):
                    await ours.set_language("room", language)
            assert ours.export() == ()
            with pytest.raises(CallNotFound):
                await ours.set_language("room", "en")

    virtual_clock.run(run())

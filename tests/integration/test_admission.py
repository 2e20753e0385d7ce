# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A service that runs short of memory in the middle of a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from live_transcription.capacity.memory import MemoryBound, MemoryReading, MemorySource
from live_transcription.service import TranscriptionService
from sandbox.caller import Speech
from tests.fakes.stt import rest
from tests.integration.conftest import TalkOnLoopback, no_ice_servers

MB = 1 << 20


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110  the service tells no one
            await asyncio.sleep(0.02)


async def test_without_memory_nobody_new_is_heard_and_all_are_once_there_is_some(
    talk: TalkOnLoopback, short_speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live_transcription.capacity.watch.LAG_S", 0.02)
    monkeypatch.setattr("live_transcription.service.OBSERVE_S", 0.02)
    used_mb = 100

    def read() -> MemoryReading:
        return MemoryReading(used_mb * MB, (MemoryBound(MemorySource.CONTAINER, used_mb * MB, 1000 * MB),))

    async with TranscriptionService(
        talk.config(), no_ice_servers, registry=talk.registry, wall_clock=time.time, read_memory=read
    ) as service:
        listener = await talk.caller("listener")
        first = await talk.caller("first", short_speech)
        await service.enable(talk.room, listener.nextcloud_session_id)
        await listener.captions.wait(speaker=first.session_id)
        used_mb = 900
        await until(lambda: bool(service.status().conditions))
        second = await talk.caller("second", short_speech)
        await listener.captions.wait(rest, speaker=first.session_id)
        assert service.status().speakers == 1
        assert not [caption for caption in listener.captions.received if caption.speaker == second.session_id]
        assert service.status().conditions[0].code == "memory"
        used_mb = 100
        await listener.captions.wait(speaker=second.session_id)
        await until(lambda: not service.status().conditions)
        status = service.status()
        assert (status.speakers, status.speakers_waiting) == (2, 0)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The service transcribes a room for a transcript, with or without readers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from live_transcription.call.call import Call
from live_transcription.errors import TooManyCalls
from live_transcription.service import TranscriptionService
from live_transcription.types import IceServer, Secret
from sandbox import virtual_clock
from tests.fakes.call import CONFIG, join_and_stay
from tests.fakes.stt import FakeRegistry
from tests.fakes.transcripts import RecordingSink


async def no_servers() -> Sequence[IceServer]:
    return ()


def service(sink: RecordingSink | None, **changes: int) -> TranscriptionService:
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    return TranscriptionService(config, no_servers, transcripts=sink, registry=FakeRegistry(), wall_clock=lambda: 0.0)


@pytest.fixture(autouse=True)
def _calls_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Call, "run", join_and_stay)


def test_a_kept_transcript_starts_a_call_once_and_readers_share_it() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        async with service(sink) as ours:
            await ours.keep_transcribing("room", language="fr")
            await ours.keep_transcribing("room", language="fr")
            await asyncio.sleep(0.1)
            assert ours.status().calls == 1
            await ours.enable("room", "nc1")
            assert (ours.status().calls, ours.status().targets) == (1, 1)
            await ours.stop_keeping("room")
            assert ours.status().targets == 1
            await ours.stop_keeping("another room")

    virtual_clock.run(run())


@pytest.mark.parametrize("sink", [None, RecordingSink("another room")])
def test_no_call_starts_for_a_room_whose_transcript_is_not_kept(sink: RecordingSink | None) -> None:
    async def run() -> None:
        async with service(sink) as ours:
            await ours.keep_transcribing("room")
            await ours.stop_keeping("room")
            await asyncio.sleep(0.1)
            assert ours.status().calls == 0

    virtual_clock.run(run())


def test_a_transcript_is_subject_to_the_limit_of_calls() -> None:
    async def run() -> None:
        sink = RecordingSink("one", "two")
        async with service(sink, max_calls=1) as ours:
            await ours.keep_transcribing("one")
            with pytest.raises(TooManyCalls):
                await ours.keep_transcribing("two")

    virtual_clock.run(run())


def test_a_call_for_a_transcript_joins_again_with_new_settings() -> None:
    async def run() -> None:
        sink = RecordingSink("room")
        async with service(sink) as ours:
            await ours.keep_transcribing("room", language="en")
            await asyncio.sleep(0.1)
            ours.apply(replace(CONFIG, hpb=replace(CONFIG.hpb, internal_secret=Secret("new"))))
            await asyncio.sleep(0.1)
            assert ours.status().calls == 1
            assert ours.export() == (), "its owner restores it after a restart"

    virtual_clock.run(run())

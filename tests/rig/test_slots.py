# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Few speech-to-text streams and many claims: those who speak are transcribed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from sandbox.caller import Caller, room_noise
from tests.rig.setting import SHORT_SPEECH, Setting, captioned, eventually, setting

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOTS = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scarce(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setting]:
    async with setting(
        tmp_path_factory.mktemp("scarce"), environment={"LT_MAX_SPEAKERS": str(SLOTS), "LT_MAX_CALLS": "2"}
    ) as made:
        yield made


def guest(scarce: Setting, room: str, name: str, *, publishes: bool = True) -> Caller:
    """Somebody with a microphone, or who only says so."""
    return Caller(
        scarce.rig.signaling_url, scarce.nextcloud, room, None, name, publishes=publishes, claims_microphone=not publishes
    )


async def test_claimants_and_silent_microphones_take_no_captions_from_a_speaker_in_another_room(
    scarce: Setting, record_testsuite_property: Callable[[str, object], None]
) -> None:
    crowded, other = scarce.room(), scarce.room()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        reader = await enter(scarce.listener(crowded))
        assert (await reader.enable_captions("en")).ok
        silent = [await enter(guest(scarce, crowded, f"silent {number}")) for number in range(SLOTS)]
        for each in silent:
            each.microphone.background = room_noise().packets
        silent[0].microphone.false_level = 0
        claimants = [await enter(guest(scarce, crowded, f"claimant {number}", publishes=False)) for number in range(SLOTS + 2)]
        assert claimants

        async def heard_by_the_app() -> bool:
            return bool((await scarce.app.health())["speakers"] == SLOTS)

        await eventually(heard_by_the_app, "the silent microphones are subscribed, the claimants are not counted")
        await asyncio.sleep(2)
        health = await scarce.app.health()
        reasons = set(health["reasons"]) - {"load"}  # of the machine
        assert (health["slots"], health["speakers_waiting"], reasons) == (0, 0, set())

        speaker = await enter(scarce.speaker(other))
        listener = await enter(scarce.listener(other, "listener-2"))
        assert (await listener.enable_captions("en")).ok
        third = await enter(scarce.listener(scarce.room(), "listener-3"))
        refused = await third.enable_captions("en")
        assert (refused.status, refused.body["code"]) == (503, "too_many_calls")
        began = time.time()
        speaker.play(SHORT_SPEECH)
        first = await listener.captions.wait(speaker=speaker.session_id)
        record_testsuite_property("first caption beside claimants, seconds", f"{first.at - began:.2f}")
        await captioned(listener, speaker.session_id)
        assert not reader.captions.received, "nobody speaks there"
    for room in (crowded, other):
        await scarce.nextcloud.talk.leave(room)


async def test_speech_whose_audio_level_says_silence_is_captioned(scarce: Setting) -> None:
    room = scarce.room()
    async with scarce.speaker(room) as speaker, scarce.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        speaker.microphone.false_level = 127
        for _ in range(3):
            speaker.play(SHORT_SPEECH)
        await listener.captions.wait(speaker=speaker.session_id, timeout_s=20)
    await scarce.nextcloud.talk.leave(room)

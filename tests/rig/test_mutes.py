# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Publishers without audio: muted, or without a microphone. The app's requests are read on the wire to the HPB."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest

from sandbox.caller import Mute
from tests.rig.setting import SHORT_SPEECH, Setting, captioned, setting

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Longer than any timeout for packets. A mute without packets may last for hours.
MUTED_S = 13.5


async def test_a_mute_without_packets_costs_nothing_and_neither_does_a_recording_server(talk: Setting, room: str) -> None:
    """`replaceTrack(null)` stops all RTP. Consent and DTLS continue, so the peer stays, and later speech is captioned."""
    async with (
        talk.speaker(room) as speaker,
        talk.listener(room) as listener,
        talk.recording_server(room) as recorder,
    ):
        assert (await listener.enable_captions("en")).ok
        await speaker.say(SHORT_SPEECH.part(0, 2.6))
        await listener.captions.wait(speaker=speaker.session_id)
        speaker.mute(Mute.NO_PACKETS)
        await asyncio.sleep(MUTED_S)
        assert len(talk.link.offer_requests(speaker.session_id)) == 1, "the first one of the subscription"
        assert len(talk.link.offer_requests(recorder.session_id)) == 1, "the HPB has refused it after 10 s"
        assert (await talk.app.health())["speakers"] == 1
        speaker.unmute()
        again = time.time()
        await speaker.say(SHORT_SPEECH)
        await captioned(listener, speaker.session_id, since=again)
        first = listener.captions.of(speaker.session_id, since=again)[0]
        assert first.at - again < 6
        assert len(talk.link.offer_requests(speaker.session_id)) == 1


async def microphone_added(talk: Setting) -> None:
    room = talk.room()
    refusals = talk.rig.hpb.logged("No MCU subscriber found")
    async with talk.speaker(room, microphone=False, video=True) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await asyncio.sleep(2)
        await speaker.add_microphone()
        again = time.time()
        await speaker.say(SHORT_SPEECH)
        first = await listener.captions.wait(speaker=speaker.session_id, timeout_s=10)
        assert first.at - again < 8
        requests = talk.link.offer_requests(speaker.session_id)
        assert all(after - before > 2.5 for before, after in itertools.pairwise(requests))
    assert talk.rig.hpb.logged("No MCU subscriber found") == refusals, "each peer was connected, and closed in time"
    await talk.nextcloud.talk.leave(room)


async def test_a_microphone_that_is_added_to_a_publisher_whose_flags_said_audio(talk: Setting) -> None:
    """The SFU offers it to new subscribers only (Janus 1.x), so a peer without audio is replaced every few seconds."""
    await microphone_added(talk)


@pytest.mark.parametrize("series", ["1.2"], indirect=True)
async def test_a_microphone_that_is_added_with_an_older_hpb(series: str, tmp_path: Path) -> None:
    async with setting(tmp_path, hpb_series=series) as other:
        await microphone_added(other)

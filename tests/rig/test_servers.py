# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app with other servers than the usual: older and newer HPBs, RSA certificates, a TURN-only network, a wrong secret."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from sandbox import loopback_ice
from sandbox.ports import has_ipv6
from sandbox.rig import HPB_SERIES, Rig, RigUnavailable
from sandbox.rig.installed import turn_program
from tests.rig.setting import SHORT_SPEECH, Setting, captioned, eventually, more_words, setting


async def caption_once(talk: Setting) -> None:
    room = talk.room()
    async with talk.speaker(room) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await speaker.say(SHORT_SPEECH)
        await captioned(listener, speaker.session_id)


async def caption_first_words(talk: Setting) -> None:
    """Enough where it is about the way that audio takes."""
    room = talk.room()
    async with talk.speaker(room, speech=SHORT_SPEECH) as speaker, talk.listener(room) as listener:
        assert (await listener.enable_captions("en")).ok
        await listener.captions.wait(more_words(listener, speaker.session_id, 3))


@pytest.mark.parametrize("series", [series for series in HPB_SERIES if series != "2.0"], indirect=True)
async def test_other_series_of_the_hpb(series: str, tmp_path: Path) -> None:
    async with setting(tmp_path, hpb_series=series) as talk:
        await caption_once(talk)


async def test_janus_with_an_rsa_certificate(tmp_path: Path) -> None:
    async with setting(tmp_path, certificate="rsa") as talk:
        await caption_once(talk)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_media_through_turn_alone(tmp_path: Path, transport: str) -> None:
    try:
        turn_program()
    except RigUnavailable as error:
        pytest.skip(str(error))
    async with setting(tmp_path, turn_only=True, turn_transport=transport) as talk:
        await caption_first_words(talk)
        turn = talk.rig.turn
        assert turn is not None

        async def bound() -> bool:
            return turn.logged("CHANNEL_BIND processed, success") == 2

        await eventually(bound, "the speaker's and the app's relays in the TURN server's log, which is written late")


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
async def test_media_over_ipv6_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(loopback_ice.VARIABLE, "::1")
    async with setting(tmp_path, media_address="::1", environment={loopback_ice.VARIABLE: "::1"}) as talk:
        await caption_first_words(talk)


async def test_a_wrong_secret_is_one_failed_hello_and_harms_no_other_room(tmp_path: Path) -> None:
    async with setting(tmp_path) as talk:
        good, bad = talk.room(), talk.room()
        async with talk.speaker(good) as speaker, talk.listener(good) as listener, talk.listener(bad, "listener-2") as other:
            assert (await listener.enable_captions("en")).ok
            # For new connections, the HPB's internal secret has changed.
            elsewhere = Rig(talk.nextcloud.url, talk.nextcloud.signaling_secret, directory=tmp_path / "elsewhere")
            async with elsewhere:
                talk.link.retarget("127.0.0.1", elsewhere.hpb.port)
                accepted = talk.link.accepted
                answers = await asyncio.gather(*(other.enable_captions("en") for _ in range(10)))
                answers.append(await other.enable_captions("en"))
                assert {answer.status for answer in answers} == {503}
                assert all("error" in answer.body for answer in answers)
                assert all(talk.rig.internal_secret not in str(answer.body) for answer in answers)
                assert talk.link.accepted == accepted + 1
            await speaker.say(SHORT_SPEECH)
            await captioned(listener, speaker.session_id)


async def test_shutdown_delivers_the_open_utterance_and_says_goodbye(tmp_path: Path) -> None:
    async with setting(tmp_path) as talk:
        room = talk.room()
        async with talk.speaker(room) as speaker, talk.listener(room) as listener:
            assert (await listener.enable_captions("en")).ok
            speaker.play(SHORT_SPEECH)
            await listener.captions.wait(more_words(listener, speaker.session_id, 4))
            together = len(listener.others)
            started, stopped_at = time.monotonic(), time.time()
            assert await talk.app.process.stop() == 0
            assert time.monotonic() - started < 3, "2 s for the calls, and what the interpreter needs"
            assert listener.captions.of(since=stopped_at), "the last words come before the process has ended"
            async with asyncio.timeout(2):
                while len(listener.others) == together:  # noqa: ASYNC110  (across processes there is nothing to wait for)
                    await asyncio.sleep(0.02)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""New settings while calls run, checks of the self-test, and calls that resume after a restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from live_transcription.config import HpbConfig, SttConfig
from live_transcription.errors import CallUnavailable, ConfigurationError, SignalingRefused, SignalingUnreachable, SttModelError
from live_transcription.service import TranscriptionService
from live_transcription.types import IceServer, Secret
from sandbox.caller import Speech
from tests.fakes.stt import rest
from tests.integration.conftest import TalkOnLoopback, no_ice_servers
from tests.unit.webrtc.turn_server import PASSWORD, USER, turn_server


async def test_a_running_call_goes_on_when_other_settings_change(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await listener.captions.wait()
    service.apply(talk.config(languages=("fr",), max_speakers=3))
    assert list(service.languages()) == ["fr"]
    await listener.captions.wait(rest)
    assert talk.internal_sessions() == 1


async def test_a_changed_backend_is_joined_anew_with_everybody_who_reads(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    await service.enable(talk.room, listener.nextcloud_session_id, user_id="listener")
    config = talk.config()
    elsewhere = replace(config.hpb, url=config.hpb.url.replace("http://", "ws://"))
    service.apply(replace(config, hpb=elsewhere))
    await talk.caller("speaker", short_speech)
    await listener.captions.wait(rest)
    async with asyncio.timeout(5):
        while talk.internal_sessions() != 1:  # noqa: ASYNC110  the old session says goodbye
            await asyncio.sleep(0.02)
    assert service.status().targets == 1


async def test_broken_settings_keep_new_calls_out_and_running_ones_in(talk: TalkOnLoopback) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    await service.enable(talk.room, listener.nextcloud_session_id)
    service.apply(ConfigurationError("LT_HPB_URL", "LT_HPB_URL is not set."))
    other = talk.nextcloud.talk.rooms.create().token
    with pytest.raises(CallUnavailable, match="LT_HPB_URL"):
        await service.enable(other, "session")
    assert service.status().calls == 1
    assert service.status().problem == "LT_HPB_URL is not set."
    service.apply(talk.config())
    assert service.status().problem is None
    assert talk.internal_sessions() == 1


async def test_settings_that_come_later_make_a_service_without_any_work(talk: TalkOnLoopback) -> None:
    problem = ConfigurationError("LT_HPB_URL", "LT_HPB_URL is not set.")
    async with TranscriptionService(problem, no_ice_servers, registry=talk.registry, wall_clock=lambda: 0.0) as service:
        listener = await talk.caller("listener")
        with pytest.raises(CallUnavailable):
            await service.enable(talk.room, listener.nextcloud_session_id)
        service.apply(talk.config())
        await service.enable(talk.room, listener.nextcloud_session_id)
        assert service.status().calls == 1


async def test_old_engines_are_closed_when_their_last_stream_has_ended(talk: TalkOnLoopback, short_speech: Speech) -> None:
    closed = asyncio.Event()

    async def aclose() -> None:
        closed.set()

    talk.registry.aclose = aclose  # type: ignore[method-assign]
    service = await talk.service()
    listener = await talk.caller("listener")
    await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await listener.captions.wait()
    service.apply(talk.config(stt=SttConfig(embedded=None, prewarm=False)))
    await asyncio.sleep(0.1)
    assert not closed.is_set(), "somebody still speaks to them"
    await listener.captions.wait(rest)
    await service.leave(talk.room)
    await asyncio.wait_for(closed.wait(), 5)


async def test_calls_are_taken_up_again_with_their_readers(talk: TalkOnLoopback, short_speech: Speech) -> None:
    listener = await talk.caller("listener")
    async with TranscriptionService(talk.config(), no_ice_servers, registry=talk.registry, wall_clock=lambda: 0.0) as first:
        await first.enable(talk.room, listener.nextcloud_session_id, language="fr", user_id="listener")
        snapshots = first.export()
    assert [(snapshot.room_token, snapshot.language) for snapshot in snapshots] == [(talk.room, "fr")]
    second = await talk.service()
    second.restore(snapshots)
    await talk.caller("speaker", short_speech)
    assert (await listener.captions.wait(rest)).language == "fr"
    assert second.export() == snapshots


async def test_the_backend_is_asked_for_real(talk: TalkOnLoopback) -> None:
    service = await talk.service()
    steps: list[str] = []
    config = talk.config().hpb
    report = await service.probe_hpb(config, lambda: steps.append("connected"))
    assert steps == ["connected"]
    assert report.version
    assert "mcu" in report.features
    wrong = replace(config, internal_secret=Secret("wrong-secret-wrong"))
    with pytest.raises(SignalingRefused) as refused:
        await service.probe_hpb(wrong, lambda: steps.append("connected"))
    assert "wrong-secret-wrong" not in str(refused.value)
    nowhere = HpbConfig("ws://127.0.0.1:9", config.internal_secret, config.backend_url)
    with pytest.raises(SignalingUnreachable):
        await service.probe_hpb(nowhere, lambda: steps.append("connected"))
    assert steps == ["connected"] * 2
    await talk.wait_until_we_left()


async def test_stun_and_turn_servers_are_asked_for_real(talk: TalkOnLoopback) -> None:
    service = await talk.service()
    async with turn_server("udp") as server:
        host = f"127.0.0.1:{server.address[1]}"
        turn = IceServer((f"turn:{host}?transport=udp",), USER, Secret(PASSWORD))
        wrong = replace(turn, credential=Secret("another"))
        reports, refused = await service.probe_ice([IceServer((f"stun:{host}", "http://x")), turn])
        assert [(report.kind, report.problem) for report in reports] == [("stun", ""), ("turn", "")]
        assert refused == 1
        assert all(report.address for report in reports)
        ((report,), _) = await service.probe_ice([wrong])
        assert report.problem
        assert server.relays == 0
    ((silent,), _) = await service.probe_ice([IceServer(("stun:127.0.0.1:9",))])
    assert silent.problem


async def test_an_engine_that_is_not_there_is_named(talk: TalkOnLoopback) -> None:
    service = await talk.service()
    service.apply(talk.config(stt=SttConfig(embedded=None)))
    with pytest.raises(SttModelError, match="modal"):
        await service.probe_engine("modal", np.zeros(2400, np.float32), "en", opened=lambda: None, heard=lambda _: None)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""An HPB that refuses the app: no call ends, no request waits for a known refusal, and all share one budget of hellos."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from live_transcription.errors import CallUnavailable, SignalingRefused
from live_transcription.service import TranscriptionService
from live_transcription.signaling import hello_guard
from live_transcription.status import CallSnapshot
from live_transcription.types import Secret
from sandbox.caller import Speech
from sandbox.hpb.throttle import ATTEMPTS
from tests.integration.conftest import TalkOnLoopback


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.02)


def conditions(service: TranscriptionService) -> list[str]:
    return [condition.code for condition in service.status().conditions]


async def test_captions_come_back_by_themselves_once_the_backend_has_the_right_secret_again(
    talk: TalkOnLoopback, short_speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hello_guard, "RETRY_AFTER_S", 0.5)
    monkeypatch.setattr("live_transcription.service.OBSERVE_S", 0.05)
    service = await talk.service()
    listener = await talk.caller("listener")
    await service.enable(talk.room, listener.nextcloud_session_id, user_id="listener")
    before = service.export()
    await talk.hpb.restart(internal_secret="another secret of the backend", new_keys=True)
    await until(lambda: "hpb-refused" in conditions(service))
    started = time.monotonic()
    for session in ("stranger", listener.nextcloud_session_id):
        with pytest.raises(CallUnavailable, match="refused the internal secret"):
            await service.enable(talk.room, session, user_id=None if session == "stranger" else "listener")
    assert time.monotonic() - started < 1.0, "the cause is known"
    assert {target for target, _ in service.export()[0].targets} == {target for target, _ in before[0].targets}
    await talk.hpb.restart(internal_secret=talk.internal_secret)
    await listener.wait_connected()
    await until(lambda: talk.internal_sessions() == 1)
    await talk.caller("speaker", short_speech)
    await listener.captions.wait()
    await until(lambda: conditions(service) == [])


async def test_restored_calls_tests_and_saved_settings_spend_one_budget(talk: TalkOnLoopback) -> None:
    talk.hpb.hub.throttle.base_delay_s = 0.0
    service = await talk.service(hpb=replace(talk.config().hpb, internal_secret=Secret("wrong-secret-0")))
    snapshots = tuple(CallSnapshot(f"room-{number}", "en", ((f"nc-{number}", None),)) for number in range(20))
    service.restore(snapshots)
    await until(lambda: talk.failed_hellos() == 1)
    reasons = []
    for number in range(1, 8):
        config = talk.config().hpb
        wrong = replace(config, internal_secret=Secret(f"wrong-secret-{number}"))
        service.apply(talk.config(hpb=wrong))
        for _ in range(2):
            with pytest.raises(SignalingRefused) as refused:
                await service.probe_hpb(wrong, lambda: None)
            reasons.append(refused.value.reason)
    assert talk.failed_hellos() == hello_guard.MAX_FAILURES < ATTEMPTS
    assert reasons[0] == "invalid_token"
    assert reasons[-1] == "too_many_tries"
    assert "30 minutes" in refused.value.message
    assert service.export() == snapshots


async def test_a_test_that_succeeds_ends_the_waiting_of_calls(talk: TalkOnLoopback) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    await service.enable(talk.room, listener.nextcloud_session_id, user_id="listener")
    await talk.hpb.restart(internal_secret="another secret of the backend")
    await until(lambda: "hpb-refused" in conditions(service))
    await talk.hpb.restart(internal_secret=talk.internal_secret)
    await service.probe_hpb(talk.config().hpb, lambda: None)
    await until(lambda: service.status().calls == 1 and conditions(service) == [])
    await service.enable(talk.room, listener.nextcloud_session_id, user_id="listener")


async def test_other_settings_are_tried_at_once(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    await service.enable(talk.room, listener.nextcloud_session_id, user_id="listener")
    service.apply(talk.config(hpb=replace(talk.config().hpb, internal_secret=Secret("mistyped-secret"))))
    await until(lambda: "hpb-refused" in conditions(service))
    service.apply(talk.config())
    await talk.caller("speaker", short_speech)
    await listener.captions.wait()
    assert service.status().targets == 1

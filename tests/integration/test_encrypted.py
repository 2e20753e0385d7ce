# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Calls with Talk's end-to-end encryption, through real WebRTC: who is captioned, and what an administrator sees."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from live_transcription.service import TranscriptionService
from sandbox import hostile
from sandbox.caller import FrameEncryption, Speech
from tests.fakes.stt import rest
from tests.integration.conftest import TalkOnLoopback


async def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110  the service has no event for its status
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s: {what}") from None


def codes(service: TranscriptionService) -> list[str]:
    return [condition.code for condition in service.status().conditions]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record for record in caplog.records if getattr(record, "code", "") == "encrypted"]
    return [record.getMessage() for record in found if record.levelno == logging.WARNING]


async def test_only_plain_speakers_of_a_mixed_call_are_captioned(
    talk: TalkOnLoopback, short_speech: Speech, caplog: pytest.LogCaptureFixture
) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    hidden = await talk.encrypting("hidden", short_speech, FrameEncryption(plain_share=0.01, seed=3))
    await service.enable(talk.room, listener.nextcloud_session_id, user_id="listener")
    await eventually(lambda: codes(service) == ["encrypted"], "the condition begins")
    assert service.status().speakers_encrypted == 1
    assert "Speakers without captions: 1." in service.status().conditions[0].message
    assert b"live_transcription_speakers_encrypted 1.0" in service.metrics()
    assert b'live_transcription_condition{code="encrypted"} 1.0' in service.metrics()

    plain = await talk.caller("plain", short_speech)
    await listener.captions.wait(rest)
    assert {caption.speaker for caption in listener.captions.received} == {plain.session_id}
    assert len(talk.backend.streams) == 1
    assert service.status().speakers_encrypted == 1

    hidden.microphone.encryption = None
    await listener.captions.wait(speaker=hidden.session_id)
    await eventually(lambda: codes(service) == [], "the condition ends")
    begun, ended = lines(caplog)
    assert "end-to-end encrypted" in begun
    assert "call_end_to_end_encryption" in begun
    assert "ended" in ended
    for private in (hidden.session_id, talk.room, "hidden"):
        assert private not in begun + ended


async def test_a_forged_announcement_of_encryption_changes_nothing(
    talk: TalkOnLoopback, short_speech: Speech, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    service = await talk.service()
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech)
    guest = await talk.caller("guest")
    start = {"type": "encryption.start", "id": "1", "identity": "a" * 43, "key": "b" * 43}
    forged = {"type": "message", "to": speaker.session_id, "from": speaker.session_id, "payload": start}
    await service.enable(talk.room, listener.nextcloud_session_id, user_id="listener")
    for message in (forged, start, {"type": "encryption.start"}):
        await hostile.send_to_room(guest, message)
        for session_id in list(guest.others):
            await hostile.send_to_session(guest, session_id, message)
    await listener.captions.wait(rest)
    assert service.status().speakers_encrypted == 0
    assert codes(service) == []
    assert "encrypt" not in caplog.text


async def test_a_guest_who_imitates_encryption_silences_nobody_else(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech)
    guest = await talk.encrypting("guest", short_speech, FrameEncryption(seed=4))
    await service.enable(talk.room, listener.nextcloud_session_id, user_id="listener")
    await eventually(lambda: service.status().speakers_encrypted == 1, "the guest's audio looks encrypted")
    speaker.play(short_speech)
    await listener.captions.wait(rest)
    assert guest.session_id not in {caption.speaker for caption in listener.captions.received}

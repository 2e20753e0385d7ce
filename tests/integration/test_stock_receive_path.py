# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A call on the stock receive path, the fallback: as good as the other, as far as captions are concerned."""

from __future__ import annotations

import asyncio
import threading

from live_transcription.observability import metrics
from sandbox.caller import Speech
from tests.fakes.stt import rest
from tests.integration.conftest import TalkOnLoopback


def decoder_threads() -> int:
    return sum("decoder" in thread.name for thread in threading.enumerate())


def decoded_seconds() -> float:
    return metrics.registry.get_sample_value("live_transcription_audio_seconds_total", {"source": "decoded"}) or 0.0


async def test_a_call_is_captioned_on_the_stock_path_and_leaves_nothing(talk: TalkOnLoopback, short_speech: Speech) -> None:
    decoded = decoded_seconds()
    service = await talk.service(receive_path="stock")
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    first = await listener.captions.wait()
    assert first.speaker == speaker.session_id
    assert decoder_threads() == 1
    await listener.captions.wait(rest)
    assert decoded_seconds() - decoded > short_speech.duration_s / 2
    async with asyncio.timeout(3):
        await service.leave(talk.room)
    assert decoder_threads() == 0
    await talk.wait_until_we_left()


async def test_the_path_changes_with_the_next_subscription(talk: TalkOnLoopback, short_speech: Speech) -> None:
    service = await talk.service()
    listener = await talk.caller("listener")
    speaker = await talk.caller("speaker", short_speech)
    await service.enable(talk.room, listener.nextcloud_session_id)
    await listener.captions.wait(speaker=speaker.session_id)
    service.apply(talk.config(receive_path="stock"))
    await listener.captions.wait(rest, speaker=speaker.session_id)
    assert decoder_threads() == 0, "what runs goes on"
    other = await talk.caller("other", short_speech)
    await listener.captions.wait(rest, speaker=other.session_id)
    assert decoder_threads() == 1

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Leaving, and changing the language, while a speech-to-text server starts or hangs."""

from __future__ import annotations

import asyncio
import time

import pytest

from live_transcription.observability import metrics
from live_transcription.speaker.transcriber import DRAIN_S
from live_transcription.stt.sockets import sockets
from sandbox.caller import Speech
from sandbox.stt_servers.faults import Fault, FaultKind
from sandbox.stt_servers.fleet import Fleet
from sandbox.virtual_clock import run
from tests.integration.conftest import TalkOnLoopback
from tests.integration.stt_setting import DIALECTS, SPEECH, TEXT, play, setting, words


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.STALL, FaultKind.SLOW_READER])
def test_a_speaker_ends_in_time_whatever_the_server_does(dialect: str, kind: FaultKind) -> None:
    """During a call. The end of a call has its own limit."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with setting(dialect) as place:
            place.server.faults.add(Fault(kind, after_s=3.0, times=None))
            async with place.speaker() as speaker:
                await speaker.say(SPEECH[: 8 * 24_000])
                began = loop.time()
                await speaker.hang_up()
                assert loop.time() - began <= DRAIN_S + 0.1
            if kind is FaultKind.HANG:
                assert speaker.captions == []
            else:
                assert words(speaker.text) == words(TEXT)[: len(words(speaker.text))]
                assert speaker.text.endswith(speaker.utterances[-1].text)
            await asyncio.sleep(0.5)
            assert sockets.open == 0

    play(scenario())


def test_a_change_of_language_during_a_cold_start_loses_no_word() -> None:
    dropped = metrics.registry.get_sample_value("live_transcription_frames_dropped_total")

    async def scenario() -> None:
        async with setting("modal", fleet=Fleet(cold_start_s=40.0)) as place:
            async with place.speaker() as speaker:
                await speaker.say(SPEECH)
                speaker.transcriber.language = "fr"
                await speaker.say(SPEECH)
                await place.listen_until_quiet(speaker)
            assert speaker.errors == []
            assert words(speaker.text) == words(f"{TEXT} {TEXT}")
            assert metrics.registry.get_sample_value("live_transcription_frames_dropped_total") == dropped
            first = [caption.text for caption in speaker.captions if caption.language == "en"]
            assert words(" ".join(first)) == words(TEXT)
            languages = [caption.language for caption in speaker.captions]
            assert languages == sorted(languages), "all English words come first"

    play(scenario())


def test_a_change_of_language_in_mid_word_keeps_the_words_of_both_sides() -> None:
    async def scenario() -> None:
        async with setting("moshi") as place:
            async with place.speaker() as speaker:
                saying = asyncio.create_task(speaker.say(SPEECH))
                await asyncio.sleep(6.0)
                speaker.transcriber.language = "fr"
                await saying
                await place.listen_until_quiet(speaker)
            assert {caption.language for caption in speaker.captions} == {"en", "fr"}
            # The word at the change may be lost; the others are in order.
            assert len(words(speaker.text)) >= len(words(TEXT)) - 1
            rest = iter(words(TEXT))
            assert all(word in rest for word in words(speaker.text))

    play(scenario())


def test_a_speaker_that_hangs_up_during_a_cold_start_after_a_change_of_language_ends_in_time() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with setting("modal", fleet=Fleet(cold_start_s=60.0)) as place, place.speaker() as speaker:
            await speaker.say(SPEECH[: 4 * 24_000])
            speaker.transcriber.language = "fr"
            await speaker.say(SPEECH[: 4 * 24_000])
            began = loop.time()
            await speaker.hang_up()
            assert loop.time() - began <= 2 * (DRAIN_S + 0.1)

    run(scenario())


@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.STALL])
async def test_talk_can_end_captions_within_two_seconds_while_the_server_hangs(
    talk: TalkOnLoopback, short_speech: Speech, kind: FaultKind
) -> None:
    async with setting("modal") as place:
        talk.registry = place.registry  # type: ignore[assignment]
        service = await talk.service()
        listener = await talk.caller("listener")
        speaker = await talk.caller("speaker", short_speech)
        await service.enable(talk.room, listener.nextcloud_session_id)
        await place.registry.backend().warm()
        place.server.faults.add(Fault(kind, after_s=1.0, times=None))
        playing = asyncio.create_task(speaker.say(short_speech))
        await asyncio.sleep(2.5)
        began = time.monotonic()
        await service.leave(talk.room)
        assert time.monotonic() - began < 2.0
        assert service.status().calls == 0
        await talk.wait_until_we_left()
        playing.cancel()
        await asyncio.wait([playing])

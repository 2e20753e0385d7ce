# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Malformed data of a server or microphone: memory is bounded, the speaker recovers, and other speakers are not affected."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import numpy as np
import pytest

from live_transcription.audio.framer import Framer
from live_transcription.audio_store.ring import AudioRing
from live_transcription.config import SttConfig
from live_transcription.types import SAMPLE_RATE
from sandbox.monologue import Monologue
from sandbox.stt_servers.dialects import DialectName
from sandbox.stt_servers.faults import Fault, FaultKind
from sandbox.stt_servers.modal import Behaviour
from tests.fakes.stt_counts import SttCounts
from tests.integration.stt_setting import DIALECTS, SPEECH, TEXT, Setting, burst, play, setting, words

#: Seconds of audio that are buffered without a server.
RING_S = 20.0
SENSELESS = (FaultKind.GARBAGE, FaultKind.HUGE, FaultKind.NAN, FaultKind.CONTRADICT)


async def speak_while_another_does(place: Setting, fault: Fault) -> tuple[Monologue, Monologue]:
    """Only the first speaker's session has the fault."""
    async with place.speaker("speaker-1") as victim, place.speaker("speaker-2") as other:
        place.server.faults.add(fault)
        saying = asyncio.create_task(victim.say(SPEECH))
        await asyncio.sleep(2.0)
        await other.say(SPEECH)
        await saying
        await place.listen_until_quiet(victim)
        await place.listen_until_quiet(other)
    return victim, other


@pytest.mark.parametrize("kind", SENSELESS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_nonsense_from_the_server_costs_no_word(dialect: str, kind: FaultKind) -> None:
    async def scenario() -> None:
        async with setting(dialect) as place:
            victim, other = await speak_while_another_does(place, Fault(kind, after_s=4.0))
            heard = words(victim.text)
            # A fault may add words, but none of the spoken ones is missing.
            rest = iter(heard)
            assert all(word in rest for word in words(TEXT))
            assert len(heard) <= len(words(TEXT)) + 1
            assert words(other.text) == words(TEXT)
            assert max(map(len, (caption.text for caption in victim.captions))) < 500
            assert victim.errors == other.errors == []
            # Only the faulty session may have been replaced.
            assert len(place.server.sessions) <= 3

    play(scenario())


@pytest.mark.parametrize("kind", SENSELESS)
def test_nonsense_in_the_specified_format_costs_no_word(kind: FaultKind) -> None:
    async def scenario() -> None:
        async with setting("modal", behaviour=Behaviour(dialect=DialectName.MISSION)) as place:
            place.server.faults.add(Fault(kind, after_s=4.0))
            async with place.speaker() as speaker:
                await speaker.say(SPEECH)
                await place.listen_until_quiet(speaker)
            rest = iter(words(speaker.text))
            assert all(word in rest for word in words(TEXT))

    play(scenario())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_audio_of_nan_affects_only_itself(dialect: str) -> None:
    async def scenario() -> None:
        async with setting(dialect) as place:
            async with place.speaker() as speaker:
                spoilt = SPEECH.copy()
                at = round(13.0 * SAMPLE_RATE)
                spoilt[at : at + 200] = np.nan
                spoilt[at + 200 : at + 400] = np.inf
                await speaker.say(np.concatenate(Framer().push(spoilt)))
                await speaker.hush(2.0)
                await speaker.say(SPEECH)
                await place.listen_until_quiet(speaker)
            assert words(speaker.text)[-len(words(TEXT)) :] == words(TEXT)
            assert len(place.server.sessions) == 1

    play(scenario())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_server_that_never_answers_costs_bounded_memory_and_is_logged(dialect: str, caplog: pytest.LogCaptureFixture) -> None:
    counts = SttCounts()

    def impatient(config: SttConfig) -> SttConfig:
        modal = replace(config.modal, open_timeout_s=10.0) if config.modal is not None else None
        return replace(config, modal=modal, ring_s=RING_S)

    async def scenario() -> None:
        async with setting(dialect, config=impatient) as place:
            place.server.faults.add(Fault(FaultKind.HANG, times=None))
            async with place.speaker() as speaker:
                for _ in range(6):
                    burst(speaker, SPEECH[: 9 * SAMPLE_RATE])
                    await asyncio.sleep(9.0)
                rings = [ring for ring in gc.get_objects() if type(ring) is AudioRing]
                assert max(ring.memory_bytes for ring in rings) <= 4 * SAMPLE_RATE * (RING_S + 2)
                assert counts.dropped_s > 20
                assert speaker.frames.buffered_s < 1
                place.server.faults.clear()
                for _ in range(5):
                    burst(speaker, np.zeros(9 * SAMPLE_RATE, np.float32))
                    await asyncio.sleep(9.0)
                before = len(speaker.captions)
                await speaker.say(SPEECH)
                await place.listen_until_quiet(speaker)
            assert words(" ".join(caption.text for caption in speaker.captions[before:])) == words(TEXT)
            assert speaker.errors == []

    play(scenario())
    assert any("did not answer in time" in record.getMessage() for record in caplog.records)

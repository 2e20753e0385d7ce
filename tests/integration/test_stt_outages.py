# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A server that starts, breaks, ends sessions or is full: the captions contain every word once and in order."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from live_transcription.errors import SttRefused
from sandbox.stt_servers.dialects import DialectName, Spacing
from sandbox.stt_servers.faults import Fault, FaultKind
from sandbox.stt_servers.fleet import Fleet
from sandbox.stt_servers.modal import Behaviour, ColdStart
from tests.fakes.stt import FakeBackend
from tests.integration.stt_setting import DIALECTS, SPEECH, TEXT, play, setting, with_help_of, words


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("mode", list(ColdStart))
def test_a_cold_start_during_speech_loses_no_word(mode: ColdStart, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with setting("modal", behaviour=Behaviour(cold_start=mode), fleet=Fleet(cold_start_s=30.0)) as place:
            async with place.speaker() as speaker:
                await speaker.say(SPEECH)
                await place.listen_until_quiet(speaker)
            assert words(speaker.text) == words(TEXT)
            assert speaker.errors == []

    play(scenario())
    assert ("still starting" in logged(caplog)) == (mode is not ColdStart.HANG)


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(dialect=name, spacing=spacing) for name, spacing in itertools.product(DialectName, Spacing)],
    ids=lambda behaviour: f"{behaviour.dialect}-{behaviour.spacing}",
)
def test_an_outage_of_ten_seconds_in_mid_sentence_in_each_dialect_of_modal(behaviour: Behaviour) -> None:
    async def scenario() -> None:
        async with setting("modal", behaviour=behaviour) as place:
            async with place.speaker() as speaker:
                asyncio.get_running_loop().call_later(6.3, place.server.begin_outage, 10.0)
                await speaker.say(SPEECH)
                await place.listen_until_quiet(speaker)
            assert words(speaker.text) == words(TEXT)
            assert " ," not in speaker.text
            assert "  " not in speaker.text

    play(scenario())


def test_the_log_explains_an_outage_of_a_moshi_server(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with setting("moshi") as place:
            async with place.speaker() as speaker:
                asyncio.get_running_loop().call_later(6.3, place.server.begin_outage, 10.0)
                await speaker.say(SPEECH)
                await place.listen_until_quiet(speaker)
            assert words(speaker.text) == words(TEXT)

    play(scenario())
    assert "The connection to the moshi-server broke." in logged(caplog)
    assert "cannot be reached (ConnectionRefusedError)" in logged(caplog)
    assert "mute" not in logged(caplog)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", [FaultKind.CLOSE, FaultKind.CUT, FaultKind.STALL, FaultKind.SLOW_READER])
def test_a_session_that_breaks_or_hangs_in_mid_sentence_loses_no_word(dialect: str, kind: FaultKind) -> None:
    async def scenario() -> None:
        async with setting(dialect) as place:
            place.server.faults.add(Fault(kind, after_s=5.0))
            async with place.speaker() as speaker:
                await speaker.say(SPEECH)
                if kind in (FaultKind.STALL, FaultKind.SLOW_READER):
                    await speaker.say(SPEECH)
                await place.listen_until_quiet(speaker)
            said = TEXT if kind in (FaultKind.CLOSE, FaultKind.CUT) else f"{TEXT} {TEXT}"
            assert words(speaker.text) == words(said)
            assert len(place.server.sessions) == 2

    play(scenario())


def test_sessions_that_reach_the_servers_age_limit_are_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with setting("modal", behaviour=Behaviour(session_limit_s=6.0)) as place:
            async with place.speaker() as speaker:
                await speaker.say(SPEECH)
                await place.listen_until_quiet(speaker)
            assert words(speaker.text) == words(TEXT)
            assert len(place.server.sessions) >= 3

    play(scenario())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_server_that_is_full_for_a_while_loses_no_word(dialect: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with setting(dialect) as place:
            place.server.faults.add(Fault(FaultKind.FULL, times=3))
            async with place.speaker() as speaker:
                await speaker.say(SPEECH)
                await place.listen_until_quiet(speaker)
            assert words(speaker.text) == words(TEXT)

    play(scenario())
    assert "full" in logged(caplog)


def test_two_speakers_take_turns_on_a_server_with_one_slot() -> None:
    async def scenario() -> None:
        async with setting("moshi", batch_size=1) as place:
            async with place.speaker("speaker-1") as first, place.speaker("speaker-2") as second:
                await first.say(SPEECH)
                saying = asyncio.create_task(second.say(SPEECH))
                await first.hush(35.0)
                await saying
                await place.listen_until_quiet(second)
            assert words(first.text) == words(second.text) == words(TEXT)

    play(scenario())


def test_refused_credentials_are_logged_and_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with setting("modal", behaviour=Behaviour(key="wk-other", secret="ws-other")) as place:
            async with place.speaker() as speaker:
                await speaker.say(SPEECH)
            assert speaker.captions == []
            assert {type(error) for error in speaker.errors} == {SttRefused}
            assert len(speaker.errors) <= 2
            assert place.server.sessions == []

    play(scenario())
    assert "refused the credentials (HTTP 401). Check the key and the secret." in logged(caplog)
    assert "wk-key" not in logged(caplog)


def test_another_engine_is_used_if_the_credentials_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with setting("modal", behaviour=Behaviour(key="wk-other", secret="ws-other")) as place:
            helper = FakeBackend()
            monologue = place.speaker(backend=with_help_of(place.registry, helper))
            async with monologue as speaker:
                await speaker.say(SPEECH)
                await speaker.hush(3.0)
            assert speaker.errors == []
            assert speaker.utterances[0].text == "speech 1 begins and ends 1"
            assert sum(len(frame) for frame in helper.streams[0].frames) > 12 * 24_000

    play(scenario())
    assert "Speech-to-text by modal: Kyutai on Modal refused the credentials" in logged(caplog)

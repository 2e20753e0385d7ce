# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the last outcomes of all dependencies mean for the app as a whole."""

from __future__ import annotations

import json

import pytest

from live_transcription.errors import NoMediaPath, SignalingRefused, SignalingUnreachable
from live_transcription.observability.health import Health, Outcomes
from live_transcription.status import Condition, Dependency, EngineState

OK = {"hpb": "ok", "media": "ok", "turn": "ok", "engine:modal": "ok", "engine:whisper": "ok"}


def health(**states: str) -> Health:
    """`engine_modal` stands for `engine:modal`."""
    given = OK | {name.replace("_", ":"): state for name, state in states.items()}
    return Health([Dependency(name, state, "code", "It failed.", "Repair it.") for name, state in given.items() if state])


@pytest.mark.parametrize(
    ("states", "overall", "reasons"),
    [
        ({}, "ok", []),
        ({"media": "unknown", "turn": "unknown"}, "ok", []),
        ({"hpb": "unknown"}, "untested", []),
        ({"engine_modal": "unknown", "engine_whisper": "unknown"}, "untested", []),
        ({"engine_modal": "unknown"}, "ok", []),
        ({"hpb": "failed"}, "failed", ["hpb-unreachable"]),
        ({"media": "failed"}, "failed", ["media-path"]),
        ({"media": "warning"}, "degraded", ["media-path"]),
        ({"turn": "failed"}, "degraded", ["turn-refused"]),
        ({"nextcloud": "failed"}, "degraded", ["nextcloud"]),
        ({"engine_modal": "failed"}, "degraded", ["engine:modal"]),
        ({"engine_modal": "failed", "engine_whisper": "unknown"}, "degraded", ["engine:modal"]),
        ({"engine_modal": "failed", "engine_whisper": "failed"}, "failed", ["speech-to-text"]),
        ({"engine_modal": "failed", "engine_whisper": "warning"}, "degraded", ["engine:modal", "engine:whisper"]),
        ({"engine_modal": "", "engine_whisper": ""}, "failed", ["speech-to-text"]),
    ],
)
def test_the_whole_follows_from_the_dependencies(states: dict[str, str], overall: str, reasons: list[str]) -> None:
    found = health(**states)
    assert (found.overall, list(found.explanations)) == (overall, reasons)
    assert all("Repair it." in text or not states.get("engine_modal", "x") for text in found.explanations.values())


@pytest.mark.parametrize("other", [Dependency("turn", "ok"), Dependency("engine:moshi", "failed", "stt_refused", "Refused.")])
def test_an_engine_that_is_not_configured_completely_is_no_working_engine(other: Dependency) -> None:
    incomplete = Dependency("engine:modal", "warning", "configuration", "The workspace is missing.", "Enter it.")
    found = Health([Dependency("hpb", "ok"), other, incomplete])
    assert (found.overall, list(found.explanations)) == ("failed", ["speech-to-text"])
    assert "The workspace is missing. Enter it." in found.explanations["speech-to-text"]
    assert Health([Dependency("hpb", "ok"), Dependency("engine:whisper", "ok"), incomplete]).overall == "degraded"


def test_nothing_is_ready_before_anything_was_tried() -> None:
    assert Health([Dependency("nextcloud", "ok"), Dependency("hpb"), Dependency("engine:whisper")]).overall == "untested"


def test_settings_and_shortages_count() -> None:
    dependencies = health().dependencies
    assert Health(dependencies, problem="LT_HPB_URL is not set.").overall == "failed"
    invalid = Health(dependencies, invalid="LT_MAX_CALLS is malformed.")
    assert (invalid.overall, invalid.explanations) == ("degraded", {"configuration": "LT_MAX_CALLS is malformed."})
    short = Health(dependencies, conditions=[Condition("memory", "Memory is low.", "Add some.")])
    assert (short.overall, short.explanations) == ("degraded", {"memory": "Memory is low. Add some."})


def test_a_refusal_by_the_backend_is_no_outage() -> None:
    outcomes = Outcomes()
    outcomes.failed("hpb", SignalingRefused("It refused the secret.", fix="Set it."), 1.0)
    assert list(Health([outcomes.of("hpb")]).explanations)[1:] == ["hpb-refused"]
    outcomes.failed("hpb", SignalingUnreachable("No answer."), 2.0)
    assert list(Health([outcomes.of("hpb")]).explanations)[1:] == ["hpb-unreachable"]


def test_an_outcome_stays_until_the_next_one_or_a_changed_setting() -> None:
    outcomes = Outcomes()
    assert outcomes.of("media") == Dependency("media")
    outcomes.failed("media", NoMediaPath("No path.", fix="Open UDP."), 5.0)
    assert outcomes.of("media") == Dependency("media", "failed", "no_media_path", "No path.", "Open UDP.", 5.0)
    outcomes.succeeded("media", 7.0)
    assert outcomes.of("media") == Dependency("media", "ok", at=7.0)
    outcomes.forget("media", "hpb")
    assert outcomes.of("media") == Dependency("media")


def test_an_engine_keeps_its_outcome_while_it_has_no_stream() -> None:
    outcomes = Outcomes()
    outcomes.observe_engines([EngineState("modal", "unknown"), EngineState("whisper", "unknown")], 1.0)
    assert outcomes.engines() == (Dependency("engine:modal"), Dependency("engine:whisper"))
    refused = EngineState("modal", "refused", "HTTP 401.", "stt_refused", "Set the key.")
    for now in (2.0, 3.0):
        outcomes.observe_engines([refused, EngineState("whisper", "up")], now)
    failed = Dependency("engine:modal", "failed", "stt_refused", "HTTP 401.", "Set the key.", 2.0)
    assert outcomes.engines() == (failed, Dependency("engine:whisper", "ok", at=2.0))
    outcomes.observe_engines([EngineState("modal", "unknown"), EngineState("whisper", "unknown")], 900.0)
    assert outcomes.engines() == (failed, Dependency("engine:whisper", "ok", at=2.0))
    outcomes.confirm("engine:whisper", 901.0)
    assert outcomes.of("engine:whisper").at == 901.0
    outcomes.observe_engines([EngineState("modal", "up", "an old problem")], 902.0)
    assert outcomes.engines() == (Dependency("engine:modal", "ok", at=902.0),), "an engine that is no longer used is gone"


@pytest.mark.parametrize("state", ["starting", "full"])
def test_an_engine_that_was_starting_or_full_long_ago_is_unknown(state: str) -> None:
    outcomes = Outcomes()
    outcomes.observe_engines([EngineState("modal", state, "Wait.", "stt_starting")], 1.0)
    assert outcomes.of("engine:modal").state == "warning"
    outcomes.observe_engines([EngineState("modal", "unknown", "Wait.", "stt_starting")], 900.0)
    assert outcomes.of("engine:modal") == Dependency("engine:modal")


def test_dependencies_are_described_for_json() -> None:
    outcomes = Outcomes()
    outcomes.warned("turn", Condition("turn-refused", "It refuses.", "Check it."), 3.0)
    described = json.loads(json.dumps(Health([outcomes.of("turn"), Dependency("hpb")]).describe()))
    assert described == [
        {"name": "turn", "state": "warning", "code": "turn-refused", "cause": "It refuses.", "fix": "Check it.", "at": 3.0},
        {"name": "hpb", "state": "unknown", "code": "", "cause": "", "fix": "", "at": None},
    ]

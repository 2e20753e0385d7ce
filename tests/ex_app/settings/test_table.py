# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The table of settings: every entry is read, saved, and reaches the engine."""

from __future__ import annotations

import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from ex_app.settings.read import read_settings
from ex_app.settings.store import SavedSettings
from ex_app.settings.table import BY_VARIABLE, GROUPS, ON_PAGE, RETIRED, SETTINGS, key_of
from live_transcription.types import Secret
from tests.ex_app.fakes import ENVIRONMENT, FakeNextcloud

#: For each setting with a target: a value that is not the default, and what the engine gets for it.
EXAMPLES: dict[str, tuple[str, Any]] = {
    "LT_HPB_URL": ("https://another.example.com", "https://another.example.com"),
    "LT_INTERNAL_SECRET": ("another-secret", Secret("another-secret")),
    "LT_BACKEND_URL": ("https://inside.example.com", "https://inside.example.com"),
    "LT_SKIP_CERT_VERIFY": ("true", False),
    "LT_STT_ORDER": ("embedded,modal", ("embedded", "modal")),
    "LT_STT_FALLBACK": ("false", False),
    "MODAL_WORKSPACE": ("another", "another"),
    "MODAL_KEY": ("wk-another", Secret("wk-another")),
    "MODAL_SECRET": ("ws-another", Secret("ws-another")),
    "LT_MODAL_URL": ("wss://stt.example.com", "wss://stt.example.com"),
    "LT_MODAL_CREDENTIALS_ANYWHERE": ("true", True),
    "LT_MODAL_MINUTES_PER_DAY": ("600", 600),
    "LT_MODAL_SOCKETS": ("8", 8),
    "LT_MOSHI_URL": ("ws://another.example.com:8080", "ws://another.example.com:8080"),
    "LT_MOSHI_KEY": ("another-key", Secret("another-key")),
    "LT_MOSHI_SKIP_CERT_VERIFY": ("true", False),
    "LT_MODEL_DIRECTORY": ("/models/another", Path("/models/another")),
    "LT_DEFAULT_LANGUAGE": ("fr", "fr"),
    "LT_LANGUAGES": ("fr,en", ("en", "fr")),
    "LT_FRAME_MS": ("200", 200),
    "LT_GATE": ("false", False),
    "LT_TRANSLATION": ("false", False),
    "LT_MASKED_WORDS": ("EN: damn, heck ; zut alors", (("en", "damn"), ("en", "heck"), ("", "zut alors"))),
    "LT_PREWARM": ("false", False),
    "LT_MAX_SPEAKERS": ("12", 12),
    "LT_MAX_CALLS": ("34", 34),
    "LT_MAX_MEMORY_MB": ("2048", 2048),
}
COMPLETE = ENVIRONMENT | {
    "MODAL_WORKSPACE": "workspace",
    "MODAL_KEY": "wk-key-1",
    "MODAL_SECRET": "ws-secret-1",
    "LT_MOSHI_URL": "wss://stt.example.com",
}

#: The keys that version 10.0.0 saved, with values that it accepted.
SAVED_BY_10_0_0 = {
    "lt_hpb_url": "wss://hpb.example.com/standalone-signaling", "lt_internal_secret": "saved-secret",
    "lt_backend_url": "https://cloud.example.com", "lt_skip_cert_verify": "1", "lt_stt_order": "moshi,embedded",
    "lt_stt_fallback": "off", "lt_modal_workspace": "team", "lt_modal_key": "wk-1", "lt_modal_secret": "ws-1",
    "lt_modal_url": "wss://a--b.modal.run", "lt_modal_credentials_anywhere": "yes", "lt_moshi_url": "http://stt.example.com",
    "lt_moshi_key": "public_token", "lt_moshi_skip_cert_verify": "no", "lt_model_directory": "/models/x",
    "lt_default_language": "de", "lt_languages": "de,en", "lt_frame_ms": "80", "lt_gate": "true", "lt_prewarm": "true",
    "lt_receive_path": "stock", "lt_max_speakers": "500", "lt_max_calls": "500", "lt_max_memory_mb": "0",
}  # fmt: skip


def test_every_setting_has_an_example() -> None:
    assert set(EXAMPLES) == {setting.variable for setting in SETTINGS if setting.target}
    assert {setting.group for setting in SETTINGS} == {group.name for group in GROUPS}


@pytest.mark.parametrize("variable", EXAMPLES)
@pytest.mark.parametrize("is_saved", [False, True])
def test_a_value_reaches_the_engine_from_the_environment_and_from_nextcloud(variable: str, is_saved: bool) -> None:
    setting, (text, expected) = BY_VARIABLE[variable], EXAMPLES[variable]
    read = attrgetter(setting.target)
    assert read(read_settings(COMPLETE).engine) != expected
    settings = read_settings(COMPLETE, {setting.key: text}) if is_saved else read_settings(COMPLETE | {variable: text})
    assert settings.problems == ()
    assert read(settings.engine) == expected


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_a_default_is_one_that_the_setting_accepts_and_that_applies_without_it(setting: Any) -> None:
    if setting.default:
        assert read_settings(COMPLETE | {setting.variable: setting.default}) == read_settings(COMPLETE)


async def test_what_version_10_0_0_saved_is_read_and_nothing_of_it_is_lost() -> None:
    nextcloud = FakeNextcloud(values=SAVED_BY_10_0_0 | {"lt_of_a_later_version": "kept"})
    saved = SavedSettings(ENVIRONMENT, nextcloud, lambda _: None)
    await saved.refresh()
    assert saved.current.problems == ()
    engine = saved.current.engine
    assert engine.stt.in_use == ("moshi",)
    assert (engine.hpb.verify_certificates, engine.default_language, engine.languages) == (False, "de", ("en", "de"))
    assert set(SAVED_BY_10_0_0) - {setting.key for setting in ON_PAGE} <= {key_of(variable) for variable in RETIRED}
    await saved.save({"lt_prewarm": "false"})
    assert nextcloud.values == SAVED_BY_10_0_0 | {"lt_of_a_later_version": "kept", "lt_prewarm": "false"}


def test_reading_settings_loads_no_engine() -> None:
    command = [sys.executable, "-c", "import sys, ex_app.settings.read; print(*sys.modules)"]
    modules = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": "lib:."}).stdout.split()
    loaded = {name.split(".")[1] for name in modules if name.startswith("live_transcription.")}
    assert loaded <= {"config", "languages", "types", "texts", "errors", "runtime"}

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Settings: sources, validation, and messages that name what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ex_app.settings.read import read_settings
from live_transcription.config import EngineConfig
from live_transcription.errors import ConfigurationError
from tests.ex_app.fakes import ENVIRONMENT, SECRET


def test_a_complete_environment_has_no_problems() -> None:
    settings = read_settings(
        ENVIRONMENT | {"SKIP_CERT_VERIFY": "true", "LT_FINALS_ONLY": "1", "LT_MODEL_DIRECTORY": "/models/x"}
    )
    assert settings.problems == ()
    config = settings.engine_config()
    assert isinstance(config, EngineConfig)
    assert config.hpb.url == "https://hpb.example.com/standalone-signaling"
    assert config.hpb.internal_secret.reveal() == "internal-secret-of-the-tests"
    assert config.hpb.backend_url == "https://cloud.example.com"
    assert not config.hpb.verify_certificates
    assert config.stt.embedded is not None
    assert config.stt.embedded.model_directory == Path("/models/x")
    assert settings.engine.stt.modal is None


def test_an_empty_environment_names_each_missing_setting_once_and_the_rest_has_defaults() -> None:
    settings = read_settings({})
    assert [problem.setting for problem in settings.problems] == [
        "APP_SECRET", "NEXTCLOUD_URL", "LT_HPB_URL", "LT_INTERNAL_SECRET",
    ]  # fmt: skip
    assert all(str(problem).startswith(f"{problem.setting} is not set.") for problem in settings.problems)
    error = settings.engine_config()
    assert isinstance(error, ConfigurationError)
    assert "LT_HPB_URL is not set" in str(error)
    assert "LT_INTERNAL_SECRET is not set" in str(error)
    assert "APP_SECRET" not in str(error)
    assert settings.app.app_id == "live_transcription"
    assert (settings.listen.host, settings.listen.port, settings.listen.unix_socket) == ("127.0.0.1", 8080, None)


@pytest.mark.parametrize(
    ("environment", "port"),
    [
        ({}, 8080),
        ({"PORT": "9000"}, 9000),
        ({"PORT": "9000", "APP_PORT": "23000"}, 23000),
        ({"PORT": "nonsense", "APP_PORT": "23000"}, 23000),
        ({"APP_PORT": ""}, 8080),
    ],
)
def test_the_port_comes_from_app_port_then_port_then_the_default(environment: dict[str, str], port: int) -> None:
    settings = read_settings(ENVIRONMENT | environment)
    assert settings.listen.port == port
    assert settings.problems == ()


@pytest.mark.parametrize(
    ("environment", "device"),
    [
        ({}, "cpu"),
        ({"COMPUTE_DEVICE": "CPU"}, "cpu"),
        ({"COMPUTE_DEVICE": "CUDA"}, "cuda"),
        ({"COMPUTE_DEVICE": "ROCM"}, "cpu"),
    ],
)
def test_the_embedded_engine_computes_where_app_api_says(environment: dict[str, str], device: str) -> None:
    config = read_settings(ENVIRONMENT | environment).engine_config()
    assert isinstance(config, EngineConfig)
    assert config.stt.embedded is not None
    assert config.stt.embedded.device == device


def test_harp_listens_on_its_socket() -> None:
    assert read_settings(ENVIRONMENT | {"HP_SHARED_KEY": "k" * 10}).listen.unix_socket == Path("/tmp/exapp.sock")
    given_path = ENVIRONMENT | {"HP_SHARED_KEY": "k" * 10, "HP_EXAPP_SOCK": "/run/x.sock"}
    assert read_settings(given_path).listen.unix_socket == Path("/run/x.sock")
    assert read_settings(ENVIRONMENT | {"HP_EXAPP_SOCK": "/run/x.sock"}).listen.unix_socket is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "70000"),
        ("PORT", "٣"),
        ("LOG_LEVEL", "loud"),
        ("SKIP_CERT_VERIFY", "maybe"),
        ("LT_PREWARM", "2"),
        ("LT_DEFAULT_LANGUAGE", "english please"),
        ("LT_MODEL_DIRECTORY", "relative/path"),
        ("MODAL_WORKSPACE", "wss://x"),
    ],
)
def test_a_malformed_value_is_reported_and_the_default_applies(name: str, value: str) -> None:
    settings = read_settings(ENVIRONMENT | {name: value})
    assert settings.problems[0].setting == name
    assert str(settings.problems[0]).startswith(f"{name} is malformed. ")
    assert isinstance(settings.engine_config(), EngineConfig)
    assert settings.listen.port == 8080
    assert settings.log_level == "INFO"


@pytest.mark.parametrize(
    "url",
    [
        "hpb.example.com",
        "ftp://hpb.example.com",
        "https://",
        "https:///path",
        "https://user:password@hpb.example.com",
        "https://hpb.example.com:port",
        "https://hpb.example.com:0",
        "https://hpb.example.com:99999",
        "https://hpb.example.com/?x=1",
        "https://hpb.example.com/#x",
        "https://hpb example.com",
        "https://hpb.example.com/\x00",
        "https://[::1",
        "https://hpb..example.com",
        "https://" + "x" * 3000,
    ],
)
def test_a_malformed_hpb_address_blocks_the_engine(url: str) -> None:
    settings = read_settings(ENVIRONMENT | {"LT_HPB_URL": url})
    (problem,) = settings.blocking
    assert problem.setting == "LT_HPB_URL"
    assert "password" not in str(problem) or "without a user name" in str(problem)
    assert len(url) < 10 or url not in str(problem)
    assert isinstance(settings.engine_config(), ConfigurationError)


@pytest.mark.parametrize(
    "url",
    [
        "wss://hpb.example.com/standalone-signaling/spreed",
        "http://127.0.0.1:8080",
        "ws://[::1]:8080/",
        "https://höhe.example.com",
    ],
)
def test_valid_hpb_addresses_are_accepted(url: str) -> None:
    assert read_settings(ENVIRONMENT | {"LT_HPB_URL": f" {url} "}).engine.hpb.url == url.rstrip("/")


def test_nextclouds_address_is_reduced_to_its_base() -> None:
    for url in ("https://cloud.example.com/", "https://cloud.example.com/index.php", "https://cloud.example.com/index.php/"):
        assert read_settings(ENVIRONMENT | {"NEXTCLOUD_URL": url}).app.nextcloud_url == "https://cloud.example.com"


def test_modal_needs_workspace_key_and_secret_and_detects_swapped_ones() -> None:
    modal = {"MODAL_WORKSPACE": "workspace", "MODAL_KEY": "wk-key-1", "MODAL_SECRET": "ws-secret-1"}
    settings = read_settings(ENVIRONMENT | modal)
    assert settings.engine.stt.modal is not None
    assert {secret.reveal() for secret in settings.secrets} >= {SECRET, "wk-key-1", "ws-secret-1"}
    without = read_settings(ENVIRONMENT | {"MODAL_KEY": "wk-key-1"})
    assert without.engine.stt.modal is None
    assert [problem.setting for problem in without.problems] == ["MODAL_WORKSPACE", "MODAL_SECRET"]
    swapped = read_settings(ENVIRONMENT | modal | {"MODAL_KEY": "ws-secret-1", "MODAL_SECRET": "wk-key-1"})
    assert [problem.setting for problem in swapped.problems] == ["MODAL_KEY", "MODAL_SECRET"]
    assert "ws-secret-1" not in str(swapped.problems[0])


def test_a_saved_value_takes_precedence_unless_it_is_malformed() -> None:
    saved = {"lt_hpb_url": "https://saved.example.com", "app_secret": "never from here"}
    settings = read_settings(ENVIRONMENT, saved)
    assert settings.engine.hpb.url == "https://saved.example.com"
    assert settings.app.secret.reveal() == SECRET
    fallen_back = read_settings(ENVIRONMENT, {"lt_hpb_url": "nonsense"})
    assert fallen_back.engine.hpb.url == "https://hpb.example.com/standalone-signaling"
    assert [problem.setting for problem in fallen_back.problems] == ["LT_HPB_URL"]


def test_the_repr_of_settings_contains_no_secret() -> None:
    text = repr(read_settings(ENVIRONMENT | {"MODAL_WORKSPACE": "w", "MODAL_KEY": "wk-1234567", "MODAL_SECRET": "ws-1234567"}))
    assert SECRET not in text
    assert "internal-secret" not in text
    assert "1234567" not in text


NAMES = [
    *ENVIRONMENT,
    "PORT",
    "APP_PORT",
    "APP_HOST",
    "LOG_LEVEL",
    "SKIP_CERT_VERIFY",
    "MODAL_KEY",
    "HP_SHARED_KEY",
    "HP_EXAPP_SOCK",
]


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=60) | st.from_regex(r"(https?|wss?)://\S{0,20}")))
def test_any_environment_can_be_read_and_no_problem_contains_a_secret(environment: dict[str, str]) -> None:
    settings = read_settings(environment)
    assert 1 <= settings.listen.port <= 65535
    secret = environment.get("LT_INTERNAL_SECRET", "").strip()
    if len(secret) > 12:
        assert not any(secret in str(problem) for problem in settings.problems)


def test_a_full_modal_address_replaces_the_workspace() -> None:
    settings = read_settings(ENVIRONMENT | {"LT_MODAL_URL": "wss://stt.example.com"})
    assert settings.problems == ()
    assert settings.engine.stt.modal is not None
    assert settings.engine.stt.modal.stream_url == "wss://stt.example.com/v1/stream"


def test_a_moshi_server_gets_its_default_key() -> None:
    settings = read_settings(ENVIRONMENT | {"LT_MOSHI_URL": "ws://stt.example.com:8080"})
    assert settings.engine.stt.moshi is not None
    assert settings.engine.stt.moshi.stream_url == "ws://stt.example.com:8080/api/asr-streaming"
    assert settings.engine.stt.moshi.key.reveal() == "public_token"


def test_a_malformed_engine_address_is_reported_and_blocks_nothing() -> None:
    settings = read_settings(ENVIRONMENT | {"LT_MOSHI_URL": "stt.example.com"})
    assert [problem.setting for problem in settings.problems] == ["LT_MOSHI_URL"]
    assert settings.engine.stt.moshi is None
    assert settings.blocking == ()

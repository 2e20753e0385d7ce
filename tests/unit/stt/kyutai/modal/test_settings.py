# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import pytest

from live_transcription.config import ModalConfig
from live_transcription.errors import ConfigurationError
from live_transcription.types import Secret

KEY, SECRET = Secret("wk-key"), Secret("ws-secret")
BOTH = {"Modal-Key": "wk-key", "Modal-Secret": "ws-secret"}


def config(workspace: str = "", url: str = "", *, anywhere: bool = False) -> ModalConfig:
    return ModalConfig(workspace=workspace, key=KEY, secret=SECRET, url=url, credentials_anywhere=anywhere)


def test_the_address_is_derived_from_the_workspace() -> None:
    modal = config("example-team")
    assert modal.stream_url == "wss://example-team--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run/v1/stream"
    assert modal.health_url == "https://example-team--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run/health"
    assert modal.headers() == BOTH


@pytest.mark.parametrize(
    ("url", "stream", "health"),
    [
        ("wss://stt.example.com/v1/stream", "wss://stt.example.com/v1/stream", "https://stt.example.com/health"),
        ("https://stt.example.com", "wss://stt.example.com/v1/stream", "https://stt.example.com/health"),
        ("http://127.0.0.1:9000/", "ws://127.0.0.1:9000/v1/stream", "http://127.0.0.1:9000/health"),
        ("ws://[::1]:9000/a/v1/stream", "ws://[::1]:9000/a/v1/stream", "http://[::1]:9000/a/health"),
        ("wss://stt.example.com/other?x=1", "wss://stt.example.com/other?x=1", "https://stt.example.com/health"),
    ],
)
def test_a_url_takes_precedence(url: str, stream: str, health: str) -> None:
    modal = config("example-team", url)
    assert (modal.stream_url, modal.health_url) == (stream, health)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("wss://a--b.modal.run/v1/stream", True),
        ("wss://A--B.MODAL.RUN/v1/stream", True),
        ("wss://modal.run.example.com/v1/stream", False),
        ("wss://notmodal.run/v1/stream", False),
        ("wss://example.com/a.modal.run", False),
        ("ws://127.0.0.1:9000", False),
    ],
)
def test_credentials_are_sent_to_modal_over_tls_unless_configured_otherwise(url: str, sent: bool) -> None:
    assert config(url=url).headers() == (BOTH if sent else {})
    assert config(url=url, anywhere=True).headers() == BOTH


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({}, "MODAL_WORKSPACE"),
        ({"workspace": "a.example.com/"}, "MODAL_WORKSPACE"),
        ({"workspace": "-a"}, "MODAL_WORKSPACE"),
        ({"url": "stt.example.com"}, "LT_MODAL_URL"),
        ({"url": "ftp://stt.example.com"}, "LT_MODAL_URL"),
        ({"url": "wss://user:password@stt.example.com"}, "LT_MODAL_URL"),
        ({"url": "wss://"}, "LT_MODAL_URL"),
        ({"url": "wss://stt.example.com:99999"}, "LT_MODAL_URL"),
        ({"url": "wss://stt.example.com:x"}, "LT_MODAL_URL"),
        ({"url": "wss://[::1"}, "LT_MODAL_URL"),
        ({"url": "wss://stt\t.example.com"}, "LT_MODAL_URL"),
        ({"url": "ws://a--b.modal.run/v1/stream"}, "LT_MODAL_URL"),
        ({"url": "http://stt.example.com", "credentials_anywhere": True}, "LT_MODAL_URL"),
        ({"url": "ws://10.0.0.5:8080"}, "LT_MODAL_URL"),
        ({"workspace": "a", "key": Secret("wk-key\r\nX: y")}, "MODAL_KEY"),
        ({"workspace": "a", "secret": Secret("ws secret")}, "MODAL_SECRET"),
    ],
)
def test_an_error_names_the_malformed_setting_without_its_value(values: dict[str, object], setting: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModalConfig(**values)  # type: ignore[arg-type]
    assert caught.value.setting == setting
    assert not any(word in str(caught.value) for word in ("password", "wk-key", "ws secret"))


def test_secrets_are_not_printed() -> None:
    assert "wk-key" not in repr(config("a"))
    assert "ws-secret" not in str(config("a"))

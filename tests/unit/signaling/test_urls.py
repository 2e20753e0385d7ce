# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Addresses as administrators write them."""

from __future__ import annotations

import pytest

from live_transcription.errors import ConfigurationError
from live_transcription.signaling.urls import backend_base_url, websocket_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://h.example.com", "wss://h.example.com/spreed"),
        ("https://h.example.com/", "wss://h.example.com/spreed"),
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/spreed"),
        ("ws://h.example.com/spreed", "ws://h.example.com/spreed"),
        ("wss://h.example.com/spreed/", "wss://h.example.com/spreed"),
        ("https://h.example.com/standalone-signaling", "wss://h.example.com/standalone-signaling/spreed"),
        ("https://h.example.com/standalone-signaling/", "wss://h.example.com/standalone-signaling/spreed"),
        ("wss://h.example.com/standalone-signaling/spreed", "wss://h.example.com/standalone-signaling/spreed"),
        ("wss://h.example.com/standalone-signaling/spreed///", "wss://h.example.com/standalone-signaling/spreed"),
        (" WSS://h.example.com:443/a/b?x=1#y ", "wss://h.example.com:443/a/b/spreed"),
        ("ws://[::1]:8080/", "ws://[::1]:8080/spreed"),
        ("wss://h.example.com/myspreed", "wss://h.example.com/myspreed/spreed"),
    ],
)
def test_websocket_url(url: str, expected: str) -> None:
    assert websocket_url(url) == expected
    assert websocket_url(expected) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h.example.com",
        "h.example.com:8080",
        "ftp://h",
        "wss://",
        "wss://:8080",
        "ws://h:99999",
        "ws://h:0",
        "ws://[::1",
        "ws://a b",
    ],
)
def test_a_malformed_url_is_named_by_its_setting(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        websocket_url(url)
    assert caught.value.setting == "LT_HPB_URL"
    assert "LT_HPB_URL" in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://cloud.example.com", "https://cloud.example.com/"),
        ("https://cloud.example.com/", "https://cloud.example.com/"),
        ("https://cloud.example.com/nextcloud", "https://cloud.example.com/nextcloud/"),
        ("https://cloud.example.com/index.php", "https://cloud.example.com/"),
        ("https://cloud.example.com/nc/ocs/v2.php/apps/spreed/api/v3/signaling/backend", "https://cloud.example.com/nc/"),
    ],
)
def test_backend_base_url(url: str, expected: str) -> None:
    assert backend_base_url(url) == expected


def test_nextclouds_address_must_not_be_a_websocket() -> None:
    with pytest.raises(ConfigurationError) as caught:
        backend_base_url("wss://cloud.example.com")
    assert caught.value.setting == "NEXTCLOUD_URL"

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The host of an address, and which hosts get Modal's credentials."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from live_transcription.config import ModalConfig
from live_transcription.errors import ConfigurationError
from live_transcription.runtime.hosts import host_of, is_host, is_loopback, is_subdomain, origin_of
from live_transcription.types import Secret

#: Hosts that end like one of Modal's, or look like one, and are none.
TRICKS = [
    "[::1%.modal.run]",
    "[::1%25.modal.run]",
    "[fe80::1%25a.modal.run]",
    "[::ffff:127.0.0.1%a.modal.run]",
    "[v1.a.modal.run]",
    "a.modal.run.",
    ".modal.run",
    "modal.run",
    "a..modal.run",
    "-a.modal.run",
    "a-.modal.run",
    "notmodal.run",
    "a.modal.run.example.com",
    "user@a.modal.run",
    "evil.example.com@a.modal.run",
    "a.modal.run@evil.example.com",
    "evil.example.com%2f.modal.run",
    "evil.example.com%23.modal.run",
    "evil.example.com%00.modal.run",
    "evil.example.com\\.modal.run",
    "evil.example.com:443.modal.run",
    "evil.example.com\t.modal.run",
    "evil.example.com;.modal.run",
    "a_b.modal.run",
    "a.modal。run",
    "a。modal.run",
    "a.ⓜodal.run",
    "a.modal.\uff52un",
    "xn--a.modal.run",
    "xn--mdal-5qa.run",
    "a.mödal.run",
    "a.\u212aodal.run",
    "a.mo\u00addal.run",
    "a.modal.run\u200b",
    "127.0.0.1",
    "1.2.3.4.modal.run.",
    "a" * 64 + ".modal.run",
    ".".join(["a" * 60] * 5) + ".modal.run",
    "",
]


@pytest.mark.parametrize("host", TRICKS)
def test_hosts_that_only_look_like_hosts_of_modal(host: str) -> None:
    assert not is_subdomain(host, "modal.run")
    with suppress(ConfigurationError):
        config = ModalConfig(url=f"wss://{host}/v1/stream", key=Secret("wk-key"), secret=Secret("ws-secret"))
        assert config.headers() == {}


@pytest.mark.parametrize(
    "host", ["a.modal.run", "A--B.Modal.RUN", "team--kyutai.modal.run", "a.b.modal.run", "1.2.3.4.modal.run"]
)
def test_a_host_of_modal(host: str) -> None:
    assert is_subdomain(host, "modal.run")
    for port in ("", ":443", ":8443"):
        config = ModalConfig(url=f"wss://{host}{port}/v1/stream", key=Secret("wk-key"), secret=Secret("ws-secret"))
        assert config.headers() == {"Modal-Key": "wk-key", "Modal-Secret": "ws-secret"}


PIECES = st.sampled_from(
    ["modal", ".", "run", ".modal.run", "a", "@", ":", "%", "%25", "[", "]", "::1", "/", "\\", "?", "#", "443", "-", "_", "\t",
     "\n", " ", "。", "\uff4d", "\u212a", "\u0130", "ß", "xn--", "evil.example", "wss://", "A", "\x00", "\u00ad", "127.0.0.1"]
)  # fmt: skip
AUTHORITIES = (
    st.lists(PIECES | st.characters(), max_size=8)
    .map("".join)
    .flatmap(lambda text: st.sampled_from([text, f"{text}.modal.run", f"{text}.MODAL.RUN", f"a.modal.run{text}"]))
)


@settings(max_examples=400)
@given(st.sampled_from(["wss", "https", "ws", "http", "WSS"]), AUTHORITIES, st.sampled_from(["", "/", "/v1/stream", "/x?y"]))
@example("wss", "[::1%.modal.run]", "/")
def test_credentials_go_to_hosts_of_modal_only_however_an_address_is_parsed(scheme: str, authority: str, path: str) -> None:
    try:
        config = ModalConfig(url=f"{scheme}://{authority}{path}", key=Secret("wk-key"), secret=Secret("ws-secret"))
    except ConfigurationError:
        return
    if not config.headers():
        return
    try:
        websocket = parse_uri(config.stream_url)
    except InvalidURI:
        return  # nothing is sent
    page = httpx.URL(config.health_url)
    assert websocket.secure
    assert page.scheme == "https"
    for host in (websocket.host, page.host, page.raw_host.decode("ascii")):
        assert re.fullmatch(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+modal\.run", host)
    assert websocket.user_info is None
    assert not page.userinfo


@given(AUTHORITIES)
def test_nothing_is_sent_to_modal_unencrypted(authority: str) -> None:
    try:
        config = ModalConfig(
            url=f"ws://{authority}/", key=Secret("wk-key"), secret=Secret("ws-secret"), credentials_anywhere=True
        )
    except ConfigurationError:
        return
    host = parse_uri(config.stream_url).host
    assert host == "localhost" or ipaddress.ip_address(host).is_loopback


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("h.example.com", True),
        ("h.example.com.", True),
        ("talk_signaling", True),
        ("höhe.example.com", True),
        ("192.0.2.1", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("", False),
        ("a..b", False),
        ("-a", False),
        ("a b", False),
        ("a%b", False),
        ("::g", False),
        ("a" * 64, False),
    ],
)
def test_a_host(name: str, good: bool) -> None:
    assert is_host(name) is good


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("wss://user:password@h.example.com:8443/a?token=b", "h.example.com:8443"),
        ("wss://h.example.com", "h.example.com"),
        ("ws://[::1]:80/", "[::1]:80"),
        ("ws://[::1", "?"),
        ("", "?"),
    ],
)
def test_a_host_for_the_log_contains_nothing_else(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("ws://127.0.0.1:8080", True),
        ("ws://127.9.9.9", True),
        ("ws://[::1]/", True),
        ("wss://localhost", True),
        ("wss://h.example.com", False),
        ("ws://localhost.example.com", False),
        ("ws://127.0.0.1.example.com", False),
        ("ws://127.0.0.1@h.example.com", False),
        ("ws://[::1%.modal.run]/", False),
        ("ws://192.0.2.1", False),
        ("ws://[::1", False),
        ("ws://0.0.0.0", False),
    ],
)
def test_no_proxy_on_loopback(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://user:password@h.example.com:8443/path?token=x#y", "https://h.example.com:8443"),
        ("https://H.Example.com:443/", "https://h.example.com"),
        ("http://h.example.com:80", "http://h.example.com"),
        ("wss://[::1]:443/x", "wss://[::1]"),
        ("https://h.example.com:0/", ""),
        ("https://h.example.com:x/", ""),
        ("https://h\x1b[31m.example.com/", ""),
        ("https://höhe.example.com/", ""),
        ("https://[fe80::1%25eth0]/", ""),
        ("javascript:alert(1)", ""),
        ("file:///etc/passwd", ""),
        ("/path", ""),
        ("", ""),
    ],
)
def test_an_origin_contains_nothing_else(url: str, origin: str) -> None:
    assert origin_of(url) == origin

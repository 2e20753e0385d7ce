# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which answers are redirects, and what the error says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_transcription.runtime.redirects import Redirect, redirect_of

ASKED = "ws://hpb.example.com/standalone-signaling/spreed"
ELSEWHERE = Redirect("https://hpb.example.com")


@pytest.mark.parametrize(
    ("status", "location", "expected"),
    [
        (200, "https://hpb.example.com", None),
        (304, "https://hpb.example.com", None),
        (404, "https://hpb.example.com", None),
        (301, "https://hpb.example.com/standalone-signaling/spreed", ELSEWHERE),
        (301, "HTTPS://HPB.example.com:443/x", ELSEWHERE),
        (302, "wss://hpb.example.com/x", Redirect("wss://hpb.example.com")),
        (307, "//other.example.com:8080/x", Redirect("http://other.example.com:8080")),
        (308, "http://hpb.example.com/other", Redirect(same_server=True)),
        (302, "ws://hpb.example.com:80/other", Redirect(same_server=True)),
        (302, "/login", Redirect(same_server=True)),
        (303, "?again", Redirect(same_server=True, to_itself=True)),
        (303, "http://hpb.example.com/standalone-signaling/spreed?x=1", Redirect(same_server=True, to_itself=True)),
        (300, "", Redirect()),
        (301, "   ", Redirect()),
        (301, "ftp://hpb.example.com", Redirect()),
        (301, "https://[::1", Redirect()),
        (301, "https://h.example.com:99999/", Redirect()),
        (301, "https://h\x1b]0;x\x07.example.com/", Redirect()),
    ],
)
def test_a_redirect(status: int, location: str, expected: Redirect | None) -> None:
    assert redirect_of(ASKED, status, location) == expected


@pytest.mark.parametrize(
    ("redirect", "message"),
    [
        (ELSEWHERE, "The server redirects to https://hpb.example.com."),
        (Redirect(same_server=True), "The server redirects to another path."),
        (Redirect(), "The server redirects, but gives no usable address."),
    ],
)
def test_the_description_of_a_redirect(redirect: Redirect, message: str) -> None:
    told, fix = redirect.describe("The server")
    assert told == message
    assert fix.endswith(".")


LOCATIONS = st.text(max_size=60) | st.builds(
    "{}{}{}".format,
    st.sampled_from(["https://", "http://", "ws://", "//", "/", "", "javascript:", "https:\\\\", " https://user:hidden@"]),
    st.text(max_size=30) | st.sampled_from(["h.example.com", "[::1]", "h.example.com:80", "xn--0", "h%00.example.com"]),
    st.sampled_from(["", "/hidden", "?hidden", "#hidden", ":hidden@x.example.com", "\r\nX: y"]),
)


@settings(max_examples=500)
@given(LOCATIONS, st.sampled_from([300, 301, 302, 303, 307, 308, 399]))
def test_any_answer_becomes_one_line_of_plain_text(location: str, status: int) -> None:
    redirect = redirect_of(ASKED, status, location)
    assert redirect is not None
    assert redirect.origin == "" or re.fullmatch(r"(https?|wss?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d+)?", redirect.origin)
    message, fix = redirect.describe("The server")
    assert message.isprintable()
    assert fix.isprintable()
    assert len(message) < 350

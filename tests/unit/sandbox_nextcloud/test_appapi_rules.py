# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The paths that each version of AppAPI opens to browsers, and the name under which it registers an app."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from sandbox.appapi_rules import RULES, Version, anchored_on_the_bare_path, app_name, delimited_by_slashes, harp, rule_of
from sandbox.nextcloud.app_info import declared_routes

VERSIONS: list[Version] = [
    (32, 0, 0),
    (32, 0, 8),
    (32, 0, 9),
    (32, 0, 10),
    (33, 0, 2),
    (33, 0, 3),
    (33, 0, 4),
    (34, 0, 0),
    (35, 0, 0),
]
PAGE = ("js/live_transcription-settings.js", "css/settings.css", "img/app.svg", "admin/page", "admin/settings")
NOT_FOR_BROWSERS = ("api/v1/call/transcribe", "enabled", "heartbeat", "healthz", "init", "metrics", "other/js/x", "adminx")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_supported_version_opens_the_page_and_nothing_else(version: Version) -> None:
    rule = rule_of(version)
    for path in PAGE:
        assert any(rule(route.url, path) for route in declared_routes()), path
    for path in NOT_FOR_BROWSERS:
        assert not any(rule(route.url, path) for route in declared_routes()), path


def test_the_usual_form_of_a_route_is_dead_in_two_of_the_rules() -> None:
    assert [rule for rule in RULES if not rule("^/js/.*", "js/x.js")] == [delimited_by_slashes, anchored_on_the_bare_path]


@pytest.mark.parametrize(
    ("url", "matches"),
    [
        (r"^\/?js\/.*", True),
        ("js", True),  # anywhere in the path
        ("/js/.*", False),  # PHP: Unknown modifier 'j'
        (r"^\\/js", False),  # an escaped backslash escapes no slash
    ],
)
def test_the_first_rule_is_delimited_by_slashes(url: str, *, matches: bool) -> None:
    assert delimited_by_slashes(url, "deep/js/x.js" if url == "js" else "js/x.js") is matches


def test_harp_knows_capitals_from_small_letters() -> None:
    assert rule_of((35, 0, 0))(r"^\/?js\/.*", "JS/x.js")
    assert not harp(r"^\/?js\/.*", "JS/x.js")


def test_two_names_make_an_array() -> None:
    assert app_name(ET.fromstring("<info><name>One</name></info>")) == "One"
    assert app_name(ET.fromstring("<info><name>One</name><name lang='fr'>Un</name></info>")) == "Array"

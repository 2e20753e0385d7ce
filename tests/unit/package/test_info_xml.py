# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""appinfo/info.xml, its check, and that it says the same as the code and the other files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from check_info_xml import problems
from write_settings import with_tables, with_variables

from ex_app.identity import APP_ID
from ex_app.settings.read import read_settings
from ex_app.settings.table import SETTINGS


def test_ours_is_valid(info_xml: str) -> None:
    assert problems(info_xml) == []


def test_a_release_names_its_publisher(info_xml: str) -> None:
    assert problems(info_xml, release=True) == ["example.com stands where the publisher's addresses or registry belong"]
    published = info_xml.replace("registry.example.com", "registry.test").replace("https://example.com", "https://app.test")
    assert problems(published, release=True) == []


@pytest.mark.parametrize(
    ("change", "wording"),
    [
        (("<id>live_transcription</id>", ""), "<id> is missing"),
        (("<id>live_transcription</id>", "<id>Live-Transcription</id>"), "<id> 'Live-Transcription'"),
        (("<version>10.0.0</version>", "<version>10.0</version>"), "semantic version"),
        (("<version>10.0.0</version>", "<version>10.0.1</version>"), "<image-tag> '10.0.0' is not the version '10.0.1'"),
        (("<version>10.0.0</version>", ""), "<version> is missing"),
        (("<category>ai</category>", "<category>talk</category>"), "<category> 'talk'"),
        (("<category>ai</category>", "<category>ai</category><category>ai</category>"), "says the same twice"),
        (("<licence>agpl</licence>", "<licence>AGPL</licence>"), "<licence> 'AGPL'"),
        (("<namespace>", "<donation>x</donation><namespace>"), "out of order"),
        (("<namespace>", "<colour>x</colour><namespace>"), "<colour> is not known"),
        (("<summary>Live captions", "<summary>" + "x" * 128 + "Live captions"), "1 to 128"),
        (("</name>", '</name><name lang="fr">Transcription</name>'), "<name> stands 2 times"),
        (("<name>Live Transcription</name>", ""), "<name> is missing"),
        (('<summary lang="fr">', "<summary>"), "<summary> stands twice in one language"),
        (('max-version="35"', 'max-version="31"'), "is above max-version"),
        (('max-version="35"', 'max-version="next"'), "is no version"),
        (("https://example.com/live_transcription/issues", "mailto:a@example.com"), "must be an http or https address"),
        (("<name>LT_HPB_URL</name>", "<name>APP_SECRET</name>"), "AppAPI's own"),
        (("<name>LT_HPB_URL</name>", "<name>LT_MOSHI_URL</name>"), "declared twice"),
        (("<name>LT_HPB_URL</name>", "<name>LT HPB</name>"), "no name of an environment variable"),
        ((r"<url>^\/?js\/.*</url>", "<url>^/js/.*</url>"), "must be written as"),
        ((r"<url>^\/?js\/.*</url>", "<url>js/.*</url>"), "must be written as"),
        ((r"<url>^\/?js\/.*</url>", r"<url>\/?.*</url>"), "opens /init to browsers"),
        ((r"<url>^\/?js\/.*</url>", "<url>init</url>"), "opens /init to browsers"),
        ((r"<url>^\/?js\/.*</url>", "<url>^/(js</url>"), "no regular expression"),
        (("<access_level>ADMIN</access_level>", "<access_level>admin</access_level>"), "access_level"),
        (('<headers_to_exclude>["Cookie"]', "<headers_to_exclude>Cookie"), "JSON list of str"),
        (("<bruteforce_protection>[]", "<bruteforce_protection>[true]"), "JSON list of int"),
        (("<info ", "<infos "), "not well-formed"),
    ],
)
def test_what_the_store_or_appapi_would_refuse_is_named(info_xml: str, change: tuple[str, str], wording: str) -> None:
    assert change[0] in info_xml
    found = problems(info_xml.replace(*change, 1))
    assert any(wording in problem for problem in found), found


def test_only_browsers_paths_are_routes_and_only_for_administrators(info_xml: str) -> None:
    routes = list(ET.fromstring(info_xml).iterfind("external-app/routes/route"))
    assert [route.findtext("url") for route in routes] == [rf"^\/?{name}\/.*" for name in ("js", "css", "img", "admin")]
    assert {route.findtext("access_level") for route in routes} == {"ADMIN"}


def test_id_and_version_are_the_same_everywhere(info_xml: str, root: Path) -> None:
    info = ET.fromstring(info_xml)
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert info.findtext("id") == APP_ID
    assert info.findtext("version") == project["version"]
    assert f"ARG VERSION={project['version']}\n" in (root / "Dockerfile").read_text(encoding="utf-8")


def test_the_version_stays_above_the_official_apps(info_xml: str) -> None:
    # AppAPI offers the store's app of this id as an update to whatever is lower.
    assert int((ET.fromstring(info_xml).findtext("version") or "").split(".")[0]) >= 10


def declared(info_xml: str) -> dict[str, str | None]:
    variables = ET.fromstring(info_xml).iterfind("external-app/environment-variables/variable")
    return {variable.findtext("name") or "": variable.findtext("default") for variable in variables}


def test_docs_and_info_xml_are_written_from_the_table_of_settings(info_xml: str, root: Path) -> None:
    """Run `make settings` to correct them."""
    page = (root / "docs/settings.md").read_text(encoding="utf-8")
    assert with_tables(page) == page
    assert with_variables(info_xml) == info_xml
    assert set(declared(info_xml)) == {setting.variable for setting in SETTINGS}


def test_the_declared_defaults_are_the_apps_own(info_xml: str) -> None:
    app_api = {
        "APP_SECRET": "s",
        "NEXTCLOUD_URL": "https://cloud.test",
        "LT_HPB_URL": "https://hpb.test",
        "LT_INTERNAL_SECRET": "i",
    }
    defaults = {name: default for name, default in declared(info_xml).items() if default}
    assert read_settings(app_api | defaults) == read_settings(app_api)


def test_variables_left_empty_count_as_absent(info_xml: str) -> None:
    app_api = {
        "APP_SECRET": "s",
        "NEXTCLOUD_URL": "https://cloud.test",
        "LT_HPB_URL": "https://hpb.test",
        "LT_INTERNAL_SECRET": "i",
    }
    assert read_settings(dict.fromkeys(declared(info_xml), "") | app_api) == read_settings(app_api)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Registering the app with AppAPI."""

from __future__ import annotations

import json
import shlex
import stat
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import register
from check_info_xml import problems
from register import RegistrationError, docker_commands, manual_commands, with_image

from ex_app.settings.read import read_settings


@pytest.fixture
def info(info_xml: str) -> ET.Element:
    return ET.fromstring(info_xml)


@pytest.fixture(autouse=True)
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are written."""
    monkeypatch.setattr(register, "MANUAL", tmp_path / "manual")
    monkeypatch.delenv("APP_SECRET", raising=False)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["register.py", *arguments])
    return register.main()


def test_a_daemon_gets_info_xml_and_settings(info: ET.Element) -> None:
    settings = ["LT_HPB_URL=https://hpb.test", "LT_INTERNAL_SECRET"]
    assert docker_commands(info, "harp", "/tmp/info.xml", settings, "r.test/x:1", local_image=True) == [
        ["app_api:daemon:registry:add", "--registry-from=r.test", "--registry-to=local", "harp"],
        [
            *("app_api:app:register", "live_transcription", "harp", "--info-xml", "/tmp/info.xml"),
            *("--env", "LT_HPB_URL=https://hpb.test", "--env", "LT_INTERNAL_SECRET", "--wait-finish"),
        ],
    ]


def test_a_setting_that_appapi_would_drop_is_refused(info: ET.Element) -> None:
    with pytest.raises(RegistrationError, match="LT_HPB_ADDRESS"):
        docker_commands(info, "harp", "x", ["LT_HPB_ADDRESS=x"], "r.test/x:1", local_image=False)


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LT_INTERNAL_SECRET", "the secret itself")
    assert run(monkeypatch, "harp", "--env", "LT_INTERNAL_SECRET", "--env", "LT_HPB_URL=https://hpb.test/a b") == 0
    printed = capsys.readouterr().out
    assert '--env LT_INTERNAL_SECRET="$LT_INTERNAL_SECRET"' in printed
    assert "'LT_HPB_URL=https://hpb.test/a b'" in printed
    assert "the secret itself" not in printed


def test_occ_gets_the_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LT_INTERNAL_SECRET", "the secret itself")
    occ = tmp_path / "occ"
    occ.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{shlex.quote(str(tmp_path / "called"))}\nexit 3\n', encoding="ascii")
    occ.chmod(0o755)
    assert run(monkeypatch, "harp", "--env", "LT_INTERNAL_SECRET", "--occ", str(occ)) == 3
    assert "LT_INTERNAL_SECRET=the secret itself" in (tmp_path / "called").read_text(encoding="utf-8").splitlines()


def test_another_image_leaves_the_rest_of_info_xml(info_xml: str) -> None:
    changed = with_image(info_xml, "registry.test/team/app:10.0.0")
    install = ET.fromstring(changed).find("external-app/docker-install")
    assert install is not None
    assert [element.text for element in install] == ["registry.test", "team/app", "10.0.0"]
    assert problems(changed) == []
    with pytest.raises(RegistrationError):
        with_image(info_xml, "app:10.0.0")


def test_the_manual_daemon_learns_routes_and_secret(info: ET.Element) -> None:
    daemon, app = manual_commands(info, "http://10.0.0.5:23000", "https://cloud.test", "s")
    assert daemon == [
        *("app_api:daemon:register", "manual_install", "Manual install", "manual-install", "http", "10.0.0.5"),
        "https://cloud.test",
    ]
    described = json.loads(app[4])
    assert (described["id"], described["port"], described["secret"]) == ("live_transcription", 23000, "s")
    assert described["version"] == info.findtext("version")
    assert {route["access_level"] for route in described["routes"]} == {2}
    assert described["routes"][0]["headers_to_exclude"] == ["Cookie"]


@pytest.mark.parametrize("address", ["10.0.0.5:23000", "http://10.0.0.5", "ftp://10.0.0.5:21"])
def test_an_address_without_host_or_port_is_refused(info: ET.Element, address: str) -> None:
    with pytest.raises(RegistrationError, match="http://HOST:PORT"):
        manual_commands(info, address, "https://cloud.test", "s")


def test_a_manual_app_finds_its_environment(
    build: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--manual", "http://10.0.0.5:23000", "--nextcloud", "https://cloud.test")
    assert run(monkeypatch, *arguments) == 0
    file = build / "manual" / "app.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    environment = dict(line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines())
    settings = read_settings(environment | {"LT_HPB_URL": "https://hpb.test", "LT_INTERNAL_SECRET": "i"})
    assert settings.problems == ()
    assert settings.listen.port == 23000
    assert settings.app.nextcloud_url == "https://cloud.test"

    described = json.loads((build / "manual" / "info.json").read_text(encoding="utf-8"))
    assert described["secret"] == environment["APP_SECRET"] == settings.app.secret.reveal()
    printed = capsys.readouterr().out
    assert environment["APP_SECRET"] not in printed
    assert printed.index("Register the app first") < printed.index("start it in another terminal")
    # Again: the running app's secret stays.
    assert run(monkeypatch, *arguments) == 0
    assert environment["APP_SECRET"] in file.read_text(encoding="utf-8")

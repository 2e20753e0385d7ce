# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""frpc.toml, as it is written in the container at each start."""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from pathlib import Path

import frpc_config
import pytest
from frpc_config import HarpSettingError, render, toml_string
from hypothesis import given
from hypothesis import strategies as st

HARP = {
    "APP_ID": "live_transcription",
    "APP_PORT": "23000",
    "HP_FRP_ADDRESS": "appapi-harp",
    "HP_FRP_PORT": "8782",
    "HP_SHARED_KEY": "key",
}


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    directory = tmp_path / "frp"
    directory.mkdir()
    for name in ("ca.crt", "client.crt", "client.key"):
        (directory / name).write_text("x", encoding="ascii")
    return directory


def test_one_proxy_leads_to_the_unix_socket(tmp_path: Path) -> None:
    assert tomllib.loads(render(HARP, tmp_path)) == {
        "serverAddr": "appapi-harp",
        "serverPort": 8782,
        "loginFailExit": False,
        "metadatas": {"token": "key"},
        "log": {"level": "warn", "disablePrintColor": True},
        "transport": {"tls": {"enable": False}},
        "proxies": [
            {
                "name": "live_transcription",
                "type": "tcp",
                "remotePort": 23000,
                "plugin": {"type": "unix_domain_socket", "unixPath": "/tmp/exapp.sock"},
            }
        ],
    }


def test_certificates_are_used_where_harp_has_brought_them(certificates: Path) -> None:
    assert tomllib.loads(render(HARP, certificates))["transport"]["tls"] == {
        "enable": True,
        "certFile": f"{certificates}/client.crt",
        "keyFile": f"{certificates}/client.key",
        "trustedCaFile": f"{certificates}/ca.crt",
        "serverName": "harp.nc",
    }


def test_half_brought_certificates_are_none(certificates: Path) -> None:
    (certificates / "client.key").unlink()
    assert tomllib.loads(render(HARP, certificates))["transport"]["tls"] == {"enable": False}


def test_the_socket_can_be_elsewhere(tmp_path: Path) -> None:
    written = tomllib.loads(render(HARP | {"HP_EXAPP_SOCK": "/run/app.sock"}, tmp_path))
    assert written["proxies"][0]["plugin"]["unixPath"] == "/run/app.sock"


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_as_toml(text: str) -> None:
    quoted = toml_string(text)
    assert tomllib.loads(f"key = {quoted}") == {"key": text}
    # frpc expands {{ … }} from its environment before it reads TOML.
    assert quoted.isascii()
    assert "{" not in quoted


@pytest.mark.parametrize("name", ["APP_PORT", "HP_FRP_ADDRESS", "HP_FRP_PORT", "HP_SHARED_KEY"])
def test_a_missing_variable_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(HarpSettingError, match=name):
        render(HARP | {name: " "}, tmp_path)


@pytest.mark.parametrize("port", ["0", "65536", "12x", "-1", "٣", "1" * 9])
def test_a_port_that_is_none_is_refused_without_being_repeated(port: str, tmp_path: Path) -> None:
    with pytest.raises(HarpSettingError) as caught:
        render(HARP | {"HP_FRP_PORT": port}, tmp_path)
    assert str(caught.value) == "HP_FRP_PORT is no port number."


def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "frpc.toml"
    monkeypatch.setattr(sys, "argv", ["frpc_config.py", str(target)])
    for name, value in HARP.items():
        monkeypatch.setenv(name, value)
    old = os.umask(0)
    try:
        assert frpc_config.main() == 0
    finally:
        os.umask(old)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert tomllib.loads(target.read_text(encoding="ascii"))["metadatas"]["token"] == "key"


def test_what_is_missing_is_said_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["frpc_config.py", str(tmp_path / "frpc.toml")])
    monkeypatch.setenv("HP_SHARED_KEY", "the key itself")
    for name in ("HP_FRP_ADDRESS", "HP_FRP_PORT", "APP_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert frpc_config.main() == 2
    said = capsys.readouterr().err
    assert "HP_FRP_ADDRESS" in said
    assert "the key itself" not in said
    assert not (tmp_path / "frpc.toml").exists()

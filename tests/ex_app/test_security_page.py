# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""docs/security.md matches the code: routes, switches and secrets."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import httpx
import pytest

from ex_app.auth import OPEN_PATHS
from ex_app.settings.read import read_settings
from ex_app.settings.table import BY_VARIABLE, ON_PAGE
from ex_app.translation import translated
from live_transcription.config import MoshiConfig
from live_transcription.signaling.diagnosis import unreachable
from live_transcription.texts import Text
from live_transcription.types import Secret
from tests.ex_app.fakes import ENVIRONMENT, credentials

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]


def test_the_open_routes_are_those_of_the_page() -> None:
    named = {
        path
        for row in rows(section("Who can reach what"))
        if row[1].startswith("anyone")
        for path in re.findall(r"/\w+", row[0])
    }
    assert named == OPEN_PATHS - {"/metrics"}


@pytest.mark.parametrize(
    ("path", "open_to_all", "known"),
    [
        ("/heartbeat", 200, 200),
        ("/healthz", 200, 200),
        ("/capabilities", 401, 200),
        ("/api/v1/languages", 401, 200),
        ("/js/live_transcription-api.js", 401, 200),
        ("/img/app.svg", 401, 200),
        ("/admin/settings", 401, 403),
        ("/openapi.json", 401, 404),
        ("/nowhere", 401, 404),
    ],
)
async def test_a_route_answers_as_the_page_says(anybody: httpx.AsyncClient, path: str, open_to_all: int, known: int) -> None:
    assert (await anybody.get(path)).status_code == open_to_all
    assert (await anybody.get(path, headers=credentials(user="nobody"))).status_code == known


def test_each_tls_switch_of_the_page_exists() -> None:
    tls = section("TLS")
    switches = set(re.findall(r"`((?:LT_\w+_)?(?:LT_)?SKIP_CERT_VERIFY)`", tls))
    assert {"LT_SKIP_CERT_VERIFY", "LT_MOSHI_SKIP_CERT_VERIFY", "LT_NEXTCLOUD_SKIP_CERT_VERIFY", "SKIP_CERT_VERIFY"} == switches
    settings = read_settings(ENVIRONMENT | dict.fromkeys(switches, "true") | {"LT_MOSHI_URL": "wss://stt.example.com"})
    assert settings.problems == ()
    assert not settings.app.verify_certificates
    assert not settings.engine.hpb.verify_certificates
    assert settings.engine.stt.moshi is not None
    assert not settings.engine.stt.moshi.verify_certificates


def test_a_secret_setting_is_in_the_table_of_secrets() -> None:
    table = section("What each secret opens").lower()
    for words in (
        "internal secret of the high-performance backend",
        "modal key and secret",
        "moshi-server key",
        "`app_secret`",
    ):
        assert words in table
    known = {"LT_INTERNAL_SECRET", "MODAL_KEY", "MODAL_SECRET", "LT_MOSHI_KEY", "LT_METRICS_TOKEN"}
    assert {entry.variable for entry in ON_PAGE if entry.secret} == known


def test_errors_name_switches_by_their_labels_on_the_page() -> None:
    untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed")
    untrusted.verify_message = "self-signed certificate"
    hpb = unreachable(untrusted, "wss://hpb.example.com").fix
    moshi = MoshiConfig("wss://stt.example.com", Secret("key")).certificate_fix
    assert "LT_SKIP_CERT_VERIFY" in hpb
    assert f"“{BY_VARIABLE['LT_SKIP_CERT_VERIFY'].label}”" in translated(hpb, "en")
    assert "LT_MOSHI_SKIP_CERT_VERIFY" in Text(moshi)
    assert f"“{BY_VARIABLE['LT_MOSHI_SKIP_CERT_VERIFY'].label}”" in translated(Text(moshi), "en")


def test_secrets_are_redacted_as_the_page_says() -> None:
    secrets = {
        "APP_SECRET": "app-secret-1",
        "LT_INTERNAL_SECRET": "internal-1",
        "MODAL_KEY": "wk-12345",
        "MODAL_SECRET": "ws-12345",
        "MODAL_WORKSPACE": "team",
        "LT_MOSHI_KEY": "moshi-key-1",
        "LT_MOSHI_URL": "wss://stt.example.com",
    }
    starred = {secret.reveal() for secret in read_settings(ENVIRONMENT | secrets).secrets}
    assert starred >= set(secrets.values()) - {"team", "wss://stt.example.com"}

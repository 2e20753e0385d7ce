# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app in Nextcloud's administration: its form, its setup checks and its command of occ."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from ex_app.administration import page_link, setup_checks, talk_form
from ex_app.application import create_app
from ex_app.nextcloud.schemes import InvalidScheme
from ex_app.routes.admin import OWN_HEADER
from ex_app.selftest.checks import CHECKS
from ex_app.selftest.report import _NAMES, report
from ex_app.selftest.run import Run
from ex_app.settings.store import SavedSettings
from live_transcription.errors import SignalingRefused, SttUnavailable
from live_transcription.status import Dependency, SpeechStatus
from live_transcription.texts import Text
from tests.ex_app.fakes import ENVIRONMENT, FakeEngine, FakeNextcloud, credentials

SELFTEST = {"occ": {"arguments": None, "options": {"exit-code": False}}}
WITH_EXIT_CODE = {"occ": {"arguments": None, "options": {"exit-code": True}}}
PAGE = "https://cloud.example.com/index.php/apps/app_api/embedded/live_transcription/settings"
REFUSED = SignalingRefused("The secret is wrong.", fix="Enter the right one.")


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(
    engine: FakeEngine | None = None, nextcloud: FakeNextcloud | None = None, **environment: str
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app({**ENVIRONMENT, **environment}, engine or FakeEngine(), nextcloud or FakeNextcloud())
    transport = httpx.ASGITransport(app)
    headers = credentials() | {OWN_HEADER: "1"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app", headers=headers) as client,
    ):
        yield client


async def test_an_enabled_app_adds_its_form_its_command_and_its_checks() -> None:
    nextcloud = FakeNextcloud()
    async with running(nextcloud=nextcloud) as client:
        await settle()
        assert set(nextcloud.forms) == {"talk"}
        assert set(nextcloud.commands) == {"live_transcription:selftest"}
        assert nextcloud.in_setup_checks
        await client.put("/enabled", params={"enabled": "0"})
        nextcloud.forms.clear()
        await client.put("/enabled", params={"enabled": "1"})
        await settle()
        assert set(nextcloud.forms) == {"talk"}


async def test_an_invalid_form_is_not_registered_and_stops_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    class Strict(FakeNextcloud):
        async def put_form(self, form: Any) -> None:
            raise InvalidScheme("the settings form: title must be text")

    nextcloud = Strict()
    async with running(nextcloud=nextcloud):
        await settle()
        assert nextcloud.in_setup_checks
    (line,) = [record for record in caplog.records if "form" in record.getMessage()]
    assert (line.levelno, line.exc_info) == (logging.ERROR, None)


def test_the_form_has_the_keys_of_the_settings_and_no_secret() -> None:
    environment = ENVIRONMENT | {"LT_DEFAULT_LANGUAGE": "fr"}
    unsaved = SavedSettings(environment, FakeNextcloud(), lambda _: None).describe()
    form = talk_form("https://cloud.example.com/nextcloud", unsaved)
    fields = {field["id"]: field for field in form["fields"]}
    assert set(fields) == {"lt_hpb_url", "lt_default_language"}
    assert {"name": "French", "value": "fr"} in fields["lt_default_language"]["options"]
    assert fields["lt_default_language"]["default"] == "fr", "Nextcloud shows it until a value is saved"
    assert fields["lt_hpb_url"]["default"] == ENVIRONMENT["LT_HPB_URL"]
    assert not any(field["type"] == "password" or field.get("sensitive") for field in form["fields"])
    assert form["doc_url"] == "/nextcloud/index.php/apps/app_api/embedded/live_transcription/settings"


async def test_an_app_without_problems_reports_nothing() -> None:
    async with running() as client:
        answer = await client.get("/setup_checks")
        assert (answer.status_code, answer.json()) == (200, {})
        assert answer.headers["Content-Length"] == str(len(answer.content))


async def test_missing_settings_are_reported_by_their_labels() -> None:
    engine = FakeEngine(problem=Text("{LT_HPB_URL} is not set."))
    async with running(engine) as client:
        check = (await client.get("/setup_checks")).json()["configuration"]
    assert check["status"] == "error"
    assert check["text"] == "“Address of the high-performance backend” is not set."


async def test_the_last_outcome_of_each_dependency_is_reported() -> None:
    engine = FakeEngine()
    engine.outcomes["hpb"] = Dependency(
        "hpb", "failed", "signaling_refused", "The secret is wrong.", "Enter the right one.", 1.0
    )
    engine.outcomes["turn"] = Dependency("turn", "warning", "turn", "It does not answer.", "", 1.0)
    async with running(engine) as client:
        checks = (await client.get("/setup_checks")).json()
        assert checks["hpb"] == {
            "status": "error",
            "text": "The secret is wrong. Enter the right one.",
            "link_url": PAGE,
            "link_label": "Live transcription",
        }
        assert (checks["turn"]["status"], checks["turn"]["text"]) == ("warning", "It does not answer.")
        assert set(checks) == {"hpb", "turn"}
        assert engine.probed == [], "nothing is tested while AppAPI waits"


async def test_an_app_without_any_engine_reports_it() -> None:
    engine = FakeEngine(speech=SpeechStatus((), 0, 0.0, 0, 0.0))
    async with running(engine) as client:
        checks = (await client.get("/setup_checks")).json()
    assert checks["speech-to-text"]["status"] == "error"


async def test_the_only_engine_is_an_error_while_it_is_not_configured_completely() -> None:
    """The self-test, the setup checks and the health agree, and each names the missing setting."""
    engine = FakeEngine(speech=SpeechStatus((), 0, 0.0, 0, 0.0))
    async with running(engine, LT_STT_ORDER="modal", MODAL_WORKSPACE="", MODAL_KEY="wk-1", MODAL_SECRET="ws-1") as client:
        check = (await client.get("/setup_checks")).json()["engine:modal"]
        health = (await client.get("/healthz")).json()
        lines = (await client.post("/occ/selftest", json=SELFTEST)).text
    assert check["status"] == "error"
    assert "“Modal: workspace” is not set." in check["text"]
    assert (health["status"], health["reasons"]) == ("failed", ["speech-to-text"])
    assert "None of the selected engines is configured." in lines
    assert "“Modal: workspace” is not set." in lines


async def test_setup_checks_are_for_appapi_only(anybody: httpx.AsyncClient) -> None:
    assert (await anybody.get("/setup_checks")).status_code == 401
    assert (await anybody.post("/occ/selftest", json=SELFTEST)).status_code == 401


def test_appapis_limits_are_kept() -> None:
    def health(*dependencies: dict[str, str]) -> dict[str, Any]:
        return {"status": "failed", "explanations": {}, "dependencies": dependencies}

    many = [{"name": str(number), "state": "failed", "cause": "x" * 5000, "fix": "y"} for number in range(20)]
    found = setup_checks(health(*many), "")
    assert len(found) == 16
    assert {len(check["text"]) for check in found.values()} == {4096}
    assert len(json.dumps(found)) < 262_144
    assert setup_checks(health(*({**many[0], "state": state} for state in ("ok", "unknown"))), "") == {}
    assert setup_checks(health({"name": "a", "state": "warning", "cause": "", "fix": ""}), "")["a"]["text"]


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://cloud.example.com/", PAGE),
        ("http://127.0.0.1:8080", ""),
        ("ftp://cloud.example.com", ""),
        ("https://cloud.example.com/a b", ""),
        ("https://cloud.example.com/'", ""),
        ("https://" + "x" * 3000, ""),
        ("", ""),
    ],
)
def test_only_an_address_that_appapi_shows_is_sent(url: str, link: str) -> None:
    assert page_link(url) == link


async def test_the_command_prints_each_step_and_the_verdict() -> None:
    async with running() as client:
        answer = await client.post("/occ/selftest", json=SELFTEST)
        lines = answer.text.splitlines()
        assert answer.status_code == 200
        assert lines[0] == "Nextcloud"
        assert any("OK" in line and "The backend accepts the app" in line for line in lines)
        assert any("unable to locate the person" in line for line in lines)
        assert sum("starting the engine" in line for line in lines) == 1
        assert lines[-1].startswith("All checks passed")
        # AppAPI sends null if there are no options.
        assert (await client.post("/occ/selftest", json={"occ": {"arguments": None, "options": None}})).status_code == 200


async def test_the_command_says_what_fails_and_what_to_do() -> None:
    async with running(FakeEngine(probe_failure=REFUSED)) as client:
        answer = await client.post("/occ/selftest", json=SELFTEST)
        assert answer.status_code == 200
        assert "The secret is wrong." in answer.text
        assert "What to do: Enter the right one." in answer.text
        assert answer.text.endswith("Failed at: High-performance backend\n")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 422), (b'{"occ": 7}', 422), (b'{"occ": {"options": "x"}}', 422), (b'"' + b"x" * 70_000 + b'"', 413)],
)
async def test_a_malformed_command_is_refused(talk: httpx.AsyncClient, body: bytes, status: int) -> None:
    assert (await talk.post("/occ/selftest", content=body)).status_code == status


async def test_settings_go_by_the_labels_of_the_page() -> None:
    async with running(LT_STT_ORDER="moshi") as client:
        text = (await client.post("/occ/selftest", json=SELFTEST)).text
        assert "Failed at: Speech-to-text" in text
        assert not re.search(r"\b(LT|MODAL)_[A-Z_]+", text), text


async def test_forgotten_settings_are_described_in_the_pages_language() -> None:
    async with running(LT_HPB_URL="") as client:
        answer = await client.post("/admin/forget", json={}, headers={"Accept-Language": "de"})
    assert answer.json()["settings"]["lt_hpb_url"]["source"] == "default"
    assert "„Adresse des High-Performance-Backends“" in answer.json()["problems"][0]


async def test_with_the_option_the_exit_code_tells_the_outcome() -> None:
    engine = FakeEngine(probe_failure=SttUnavailable("It does not answer."))
    async with running(engine) as client:
        assert (await client.post("/occ/selftest", json=WITH_EXIT_CODE)).status_code == 503
        engine.probe_failure = None
        assert (await client.post("/occ/selftest", json=WITH_EXIT_CODE)).status_code == 200


async def test_lines_arrive_while_the_test_runs() -> None:
    """Two callers follow the same run."""
    run = Run("selftest", lambda: 0.0)
    run.enter("nextcloud")
    run.begin("nextcloud.reach", "Nextcloud answers").succeed("Nextcloud 35")
    slow = run.begin("nextcloud.enabled", "The app is enabled")
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            slow.succeed()
            run.done = True

    lines: list[tuple[int, str]] = [(len(pauses), line.strip()) async for line in report(run, sleep)]
    assert lines == [
        (0, "Nextcloud"),
        (0, "OK        Nextcloud answers"),
        (0, "Nextcloud 35"),
        (3, "OK        The app is enabled"),
        (3, "All checks passed."),
    ]


async def test_a_failure_that_becomes_a_warning_is_shown_as_a_warning() -> None:
    run = Run("selftest", lambda: 0.0)
    run.enter("stt")
    first = run.begin("stt.open", "modal")
    first.fail(SttUnavailable("It does not answer."))
    second = run.begin("stt.open", "embedded")
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        second.succeed()
        first.downgrade()
        run.done = True

    lines = [line async for line in report(run, sleep)]
    assert any(line.startswith("  WARNING   modal") for line in lines)
    assert not any("FAILED" in line for line in lines)
    assert lines[-1] == "All checks passed, with warnings."


def test_every_check_has_a_heading() -> None:
    assert set(_NAMES) == set(CHECKS)


async def test_a_servers_text_cannot_control_the_terminal() -> None:
    run = Run("selftest", lambda: 0.0)
    run.enter("stt")
    run.begin("stt.transcribe", "modal").succeed("\x1b[2J\r<error>hello\n")
    run.done = True
    text = "\n".join([line async for line in report(run)])
    assert "hello" in text
    assert "<" not in text
    assert "\x1b" not in text
    assert "\r" not in text

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Forms, occ commands and setup checks in the stand-in: accepted unchecked, and harmful where they are in Nextcloud."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from nc_py_api import AsyncNextcloudApp, NextcloudExceptionNotFound

from sandbox.appapi_rules import NOT_RESPONDING, Issue, setup_issues
from sandbox.nextcloud import ExApp, Nextcloud
from sandbox.nextcloud.occ import Occ, OccError
from sandbox.nextcloud.serving import LoopbackServer

SETUP_CHECK = "/ocs/v1.php/apps/app_api/api/v1/setup_check"
VALUE = "/ocs/v2.php/settings/api/declarative/value"
FORM: dict[str, Any] = {
    "id": "form", "priority": 1, "section_type": "admin", "section_id": "talk", "title": "A form", "description": "d",
    "fields": [{"id": "lt_a", "title": "A", "description": "d", "type": "text", "default": "one"}],
}  # fmt: skip
COMMAND: dict[str, Any] = {"name": "app:go", "description": "d", "execute_handler": "go", "arguments": [], "options": []}


class Sandbox:
    """An enabled app with requests of its own, and an administrator's browser and shell."""

    def __init__(self, cloud: Nextcloud, app: ExApp, own: AsyncNextcloudApp, browser: httpx.AsyncClient) -> None:
        self.cloud = cloud
        self.app = app
        self.own = own
        self.browser = browser
        self.checks: Response = JSONResponse({})
        self.printed: Response = PlainTextResponse("done\n")
        self.received: list[Any] = []

    async def occ(self, *arguments: str) -> list[str]:
        return [line async for line in Occ(self.cloud.app_api).run(arguments)]

    async def put_form(self, **changes: Any) -> None:
        form = {name: value for name, value in {**FORM, **changes}.items() if value is not ...}
        await self.own.ocs("POST", "/ocs/v1.php/apps/app_api/api/v1/ui/settings", json={"formScheme": form})

    async def put_command(self, **changes: Any) -> None:
        await self.own.ocs("POST", "/ocs/v1.php/apps/app_api/api/v1/occ_command", json={**COMMAND, **changes})


@pytest.fixture(params=[(35, 0, 0)])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    served = FastAPI()
    async with Nextcloud(version=request.param) as cloud, LoopbackServer(served) as server:
        app = cloud.app_api.register(url=server.url)
        app.enabled, app.progress = True, 100
        environment = cloud.app_api.environment(app, port=1)
        app.url = server.url
        names = ("AA_VERSION", "APP_ID", "APP_VERSION", "APP_SECRET", "NEXTCLOUD_URL")
        own = AsyncNextcloudApp(**{name.lower(): environment[name] for name in names})
        cookies = {"sandbox_user": "admin"}
        headers = {"Accept": "application/json"}
        async with httpx.AsyncClient(base_url=cloud.url, cookies=cookies, headers=headers, trust_env=False) as browser:
            made = Sandbox(cloud, app, own, browser)

            @served.get("/setup_checks")
            async def checks() -> Response:
                return made.checks

            @served.post("/go")
            async def go(request: Request) -> Response:
                made.received.append(await request.json())
                return made.printed

            yield made
        await own._session.adapter.close()
        await own._session.adapter_dav.close()


async def test_a_form_edits_the_apps_own_value(sandbox: Sandbox) -> None:
    await sandbox.put_form()
    page = await sandbox.browser.get("/settings/admin/talk")
    assert (page.status_code, "A form" in page.text, 'value="one"' in page.text) == (200, True, True)
    assert "A form" not in (await sandbox.browser.get("/settings/admin/overview")).text
    value = {"app": sandbox.app.app_id, "formId": "form", "fieldId": "lt_a", "value": "two"}
    assert (await sandbox.browser.post(VALUE, json=value)).status_code == 200
    assert await sandbox.own.appconfig_ex.get_value("lt_a") == "two"
    assert 'value="two"' in (await sandbox.browser.get("/settings/admin/talk")).text
    assert (await sandbox.browser.post(VALUE, json=value | {"fieldId": "lt_b"})).status_code == 400
    assert (await sandbox.browser.post(VALUE, json=value | {"value": {"name": "x", "value": "y"}})).status_code == 200
    assert await sandbox.own.appconfig_ex.get_value("lt_a") == "Array"
    sandbox.browser.cookies.set("sandbox_user", "bob")
    assert (await sandbox.browser.post(VALUE, json=value)).status_code == 403
    assert (await sandbox.browser.get("/settings/admin/talk")).status_code == 404


async def test_a_form_whose_id_contains_the_apps_id_cannot_be_saved(sandbox: Sandbox) -> None:
    await sandbox.put_form(id="live_transcription_form")
    value = {"app": sandbox.app.app_id, "formId": "live_transcription_form", "fieldId": "lt_a", "value": "two"}
    assert (await sandbox.browser.post(VALUE, json=value)).status_code == 400


async def test_the_app_gets_the_cipher_text_of_a_sensitive_field(sandbox: Sandbox) -> None:
    await sandbox.put_form(fields=[{**FORM["fields"][0], "sensitive": True}])
    value = {"app": sandbox.app.app_id, "formId": "form", "fieldId": "lt_a", "value": "secret"}
    await sandbox.browser.post(VALUE, json=value)
    received = await sandbox.own.appconfig_ex.get_value("lt_a")
    assert received is not None
    assert "secret" not in received
    assert received.endswith("|3")
    assert "dummySecret" in (await sandbox.browser.get("/settings/admin/talk")).text


@pytest.mark.parametrize(
    "changes",
    [
        {"title": ...}, {"section_type": "global"}, {"section_id": ...}, {"fields": ...}, {"fields": "x"},
        {"fields": [{"id": "a", "title": "A"}]}, {"fields": [{"id": "a", "title": "A", "type": "button"}]},
        {"fields": [{"id": "a", "title": "A", "type": "radio"}]},
    ],
)  # fmt: skip
async def test_one_invalid_form_breaks_every_settings_page(sandbox: Sandbox, changes: dict[str, Any]) -> None:
    await sandbox.put_form(**changes)
    for section in ("talk", "overview", "security"):
        assert (await sandbox.browser.get(f"/settings/admin/{section}")).status_code == 500
    sandbox.app.enabled = False
    assert (await sandbox.browser.get("/settings/admin/talk")).status_code == 200


async def test_a_field_of_two_forms_breaks_every_settings_page(sandbox: Sandbox) -> None:
    await sandbox.put_form()
    await sandbox.put_form(id="other")
    assert (await sandbox.browser.get("/settings/admin/talk")).status_code == 500


async def test_occ_runs_the_apps_command(sandbox: Sandbox) -> None:
    await sandbox.put_command(options=[{"name": "now", "mode": "none", "description": "d"}])

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one\nt", "w\u00f6\n".encode()[:2], "w\u00f6\n".encode()[2:]):
            yield piece

    sandbox.printed = StreamingResponse(pieces())
    assert await sandbox.occ("app:go", "--now") == ["one", "tw\u00f6"]
    assert sandbox.received == [{"occ": {"arguments": None, "options": {"now": True}}}]
    sandbox.printed = PlainTextResponse("the reason", 503)
    with pytest.raises(OccError, match="executeHandler failed") as failure:
        await sandbox.occ("app:go")
    assert "reason" not in str(failure.value)
    sandbox.app.enabled = False
    with pytest.raises(OccError, match="invalid choice"):
        await sandbox.occ("app:go")


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": [{"name": "a", "mode": "required"}]},
        {"arguments": [{"name": "a", "mode": "optional", "description": "d"}]},
        {"options": [{"name": "a", "mode": "array", "description": "d"}]},
        {"options": [{"name": "help", "mode": "none", "description": "d"}]},
        {"options": [{"name": "a", "mode": "none"}]},
        {"name": "app::go"},
    ],
)
async def test_one_invalid_command_breaks_every_call_of_occ(sandbox: Sandbox, changes: dict[str, Any]) -> None:
    await sandbox.put_command(**changes)
    with pytest.raises(OccError, match="unhandled"):
        await sandbox.occ("app_api:app:list")
    sandbox.app.enabled = False
    assert len(await sandbox.occ("app_api:app:list")) == 1


async def test_setup_checks_are_asked_by_the_background_job_only(sandbox: Sandbox) -> None:
    sandbox.checks = JSONResponse({"hpb": {"status": "error", "text": "It is gone."}})
    await sandbox.cloud.app_api.refresh_setup_checks()
    assert await sandbox.occ("setupchecks") == ["✓ External apps"]
    await sandbox.own.ocs("POST", SETUP_CHECK)
    assert await sandbox.occ("setupchecks") == ["✓ External apps"]
    await sandbox.cloud.app_api.refresh_setup_checks()
    assert await sandbox.occ("setupchecks") == ["✗ Live Transcription: It is gone."]
    sandbox.checks = PlainTextResponse("no JSON")
    await sandbox.cloud.app_api.refresh_setup_checks()
    assert sandbox.cloud.app_api.issues["live_transcription"] == [NOT_RESPONDING]
    await sandbox.own.ocs("DELETE", SETUP_CHECK)
    assert await sandbox.occ("setupchecks") == ["✓ External apps"]


@pytest.mark.parametrize("sandbox", [(32, 0, 0), (34, 0, 3)], indirect=True)
async def test_setup_checks_do_not_exist_before_35(sandbox: Sandbox) -> None:
    with pytest.raises(NextcloudExceptionNotFound):
        await sandbox.own.ocs("POST", SETUP_CHECK)


def test_an_answer_without_a_length_counts_as_none() -> None:
    body = json.dumps({"a": {"status": "error", "text": "{x}", "link_url": "javascript:alert(1)", "link_label": "l"}}).encode()
    assert setup_issues(200, str(len(body)), body) == [Issue("error", "x", "", "l")]
    for status, length in ((200, None), (200, ""), (200, "-1"), (200, "1e3"), (200, "300000"), (500, str(len(body)))):
        assert setup_issues(status, length, body) == [NOT_RESPONDING]
    assert setup_issues(200, "7", b'"a str"') == [NOT_RESPONDING]
    many = json.dumps({str(number): {"status": " Warning "} for number in range(40)}).encode()
    assert setup_issues(200, str(len(many)), many) == [Issue("warning", "reported a problem")] * 16

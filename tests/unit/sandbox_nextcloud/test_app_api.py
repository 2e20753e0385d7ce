# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""AppAPI's half of the Nextcloud stand-in: driven by nc_py_api on one side, by a small app on the other."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import httpx
import nc_py_api
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from nc_py_api import AsyncNextcloudApp
from nc_py_api.ex_app import LogLvl
from nc_py_api.ex_app.ui.settings import SettingsForm

from sandbox.nextcloud import ExApp, ExAppUnreachable, Fault, FaultKind, Nextcloud
from sandbox.nextcloud.serving import LoopbackServer


@pytest.fixture
async def nextcloud() -> AsyncIterator[Nextcloud]:
    async with Nextcloud() as running:
        yield running


def client_of(nextcloud: Nextcloud, app: ExApp, *, secret: str | None = None) -> AsyncNextcloudApp:
    environment = nextcloud.app_api.environment(app, port=1)
    names = ("AA_VERSION", "APP_ID", "APP_VERSION", "APP_SECRET", "NEXTCLOUD_URL")
    arguments = {name.lower(): environment[name] for name in names}
    return AsyncNextcloudApp(**{**arguments, "app_secret": secret or app.secret})


@pytest.fixture
async def client(nextcloud: Nextcloud) -> AsyncIterator[AsyncNextcloudApp]:
    app = nextcloud.app_api.register()
    app.enabled = True
    made = client_of(nextcloud, app)
    yield made
    await made._session.adapter.close()
    await made._session.adapter_dav.close()


def the_app(nextcloud: Nextcloud) -> ExApp:
    return nextcloud.app_api.apps["live_transcription"]


async def test_settings_are_kept_and_know_that_they_are_secret(nextcloud: Nextcloud, client: AsyncNextcloudApp) -> None:
    await client.appconfig_ex.set_value("lt_key", "one", sensitive=True)
    await client.appconfig_ex.set_value("lt_key", "two")
    assert await client.appconfig_ex.get_value("lt_key") == "two"
    assert the_app(nextcloud).config["lt_key"].sensitive
    assert await client.appconfig_ex.get_value("lt_other", "default") == "default"
    await client.appconfig_ex.delete("lt_key")
    assert await client.appconfig_ex.get_value("lt_key") is None
    with pytest.raises(nc_py_api.NextcloudExceptionNotFound):
        await client.appconfig_ex.delete("lt_key", not_fail=False)


async def test_the_page_and_its_resources_are_registered_and_removed(nextcloud: Nextcloud, client: AsyncNextcloudApp) -> None:
    await client.ui.top_menu.register("settings", "Live transcription", "img/app.svg", admin_required=True)
    await client.ui.resources.set_script("top_menu", "settings", "js/settings")
    await client.ui.resources.set_style("top_menu", "settings", "css/settings")
    await client.ui.resources.set_initial_state("top_menu", "settings", "state", {"version": 1})
    await client.ui.settings.register_form(SettingsForm("form", "talk", "Live transcription"))
    entry = await client.ui.top_menu.get_entry("settings")
    assert entry is not None
    assert entry.admin_required
    assert sorted(the_app(nextcloud).ui) == ["initial-state", "script", "settings", "style", "top-menu"]
    await client.ui.top_menu.unregister("settings")
    await client.ui.resources.delete_script("top_menu", "settings", "js/settings")
    assert await client.ui.top_menu.get_entry("settings") is None
    assert await client.ui.resources.get_script("top_menu", "settings", "js/settings") is None


async def test_only_warnings_reach_the_log_at_the_default_level(nextcloud: Nextcloud, client: AsyncNextcloudApp) -> None:
    await client.log(LogLvl.INFO, "quiet")
    await client.log(LogLvl.ERROR, "loud")
    assert the_app(nextcloud).log == [(3, "loud")]


async def test_a_disabled_app_may_only_ask_its_state_and_report_progress(
    nextcloud: Nextcloud, client: AsyncNextcloudApp
) -> None:
    the_app(nextcloud).enabled = False
    assert await client.enabled_state is False
    await client.set_init_status(30)
    assert the_app(nextcloud).progress == 30
    with pytest.raises(nc_py_api.NextcloudException) as refused:
        await client.appconfig_ex.get_value("lt_key")
    assert refused.value.status_code == 401


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.GARBAGE, FaultKind.WRONG_SHAPE, FaultKind.UNAUTHORIZED])
async def test_faults_hit_what_they_name_and_pass(nextcloud: Nextcloud, client: AsyncNextcloudApp, kind: FaultKind) -> None:
    await client.appconfig_ex.set_value("lt_key", "one")
    with nextcloud.faults.during(Fault(kind, path="/ex-app/config")) as fault:
        with pytest.raises((nc_py_api.NextcloudException, ValueError, TypeError, KeyError)):
            await client.appconfig_ex.get_value("lt_key")
        assert await client.enabled_state is True
    assert fault.hits == 1
    assert await client.appconfig_ex.get_value("lt_key") == "one"


async def test_a_stopped_nextcloud_comes_back_with_what_it_knew(nextcloud: Nextcloud, client: AsyncNextcloudApp) -> None:
    await client.appconfig_ex.set_value("lt_key", "one")
    await nextcloud.stop()
    assert await client.enabled_state is False
    await nextcloud.start()
    assert await client.appconfig_ex.get_value("lt_key") == "one"


class SmallApp:
    """An app that reports its progress from the background, as it should."""

    def __init__(self, nextcloud: Nextcloud) -> None:
        self.nextcloud = nextcloud
        self.calls: list[str] = []
        self.enabled_answer = ""
        self.authorization = ""
        self.tasks: set[asyncio.Task[None]] = set()
        self.app = FastAPI()

        @self.app.get("/heartbeat")
        async def heartbeat() -> dict[str, str]:
            return {"status": "ok"}

        @self.app.post("/init")
        async def init(request: Request) -> dict[str, str]:
            self.calls.append("init")
            self.authorization = request.headers["AUTHORIZATION-APP-API"]
            self.tasks.add(asyncio.create_task(self.report()))
            return {}

        @self.app.put("/enabled")
        async def enabled(enabled: bool) -> dict[str, str]:
            self.calls.append(f"enabled={int(enabled)}")
            return {"error": self.enabled_answer}

        @self.app.get("/slow")
        async def slow() -> None:
            await asyncio.sleep(1)

        @self.app.post("/echo")
        async def echo(request: Request) -> JSONResponse:
            return JSONResponse({"type": request.headers["content-type"], "body": await request.json()}, status_code=418)

    async def report(self) -> None:
        client = client_of(self.nextcloud, the_app(self.nextcloud))
        the_app(self.nextcloud).url = self.url
        await client.set_init_status(50)
        await client.set_init_status(100)
        self.calls.append("reported")
        await client._session.adapter.close()
        await client._session.adapter_dav.close()

    url = ""


@pytest.fixture
async def small(nextcloud: Nextcloud) -> AsyncIterator[SmallApp]:
    made = SmallApp(nextcloud)
    async with LoopbackServer(made.app) as server:
        made.url = server.url
        nextcloud.app_api.register(url=server.url)
        yield made


async def test_install_goes_through_init_and_progress_and_enables_inside_the_last_report(
    nextcloud: Nextcloud, small: SmallApp
) -> None:
    app = the_app(nextcloud)
    await nextcloud.app_api.install(app, timeout_s=10)
    await asyncio.gather(*small.tasks)
    assert small.calls == ["init", "enabled=1", "reported"]
    assert app.enabled
    assert app.progress_reports == [50, 100]
    assert base64.b64decode(small.authorization).decode() == f":{app.secret}"
    await nextcloud.app_api.disable(app)
    assert small.calls[-1] == "enabled=0"
    assert not app.enabled


async def test_an_app_that_refuses_to_be_enabled_stays_disabled(nextcloud: Nextcloud, small: SmallApp) -> None:
    small.enabled_answer = "no model"
    with pytest.raises(ExAppUnreachable, match="no model"):
        await nextcloud.app_api.install(the_app(nextcloud), timeout_s=10)
    await asyncio.gather(*small.tasks)
    assert not the_app(nextcloud).enabled


async def test_requests_carry_json_and_end_after_their_time(nextcloud: Nextcloud, small: SmallApp) -> None:
    answer = await nextcloud.app_api.request("live_transcription", "POST", "/echo", user_id="user-1", params={"a": [1]})
    assert (answer.status, answer.body) == (418, {"type": "application/json", "body": {"a": [1]}})
    assert not answer.ok
    with pytest.raises(ExAppUnreachable, match="/slow"):
        await nextcloud.app_api.request("live_transcription", "GET", "/slow", timeout_s=0.05)
    the_app(nextcloud).url = "http://127.0.0.1:1"
    with pytest.raises(ExAppUnreachable, match="ConnectError"):
        await nextcloud.app_api.request("live_transcription", "GET", "/capabilities")


@pytest.fixture
async def slow_to_anger() -> AsyncIterator[tuple[Nextcloud, list[float]]]:
    """A Nextcloud that notes its delays instead of sleeping them."""
    delays: list[float] = []

    async def note(delay_s: float) -> None:
        delays.append(delay_s)

    async with Nextcloud() as running:
        running.app_api.sleep = note
        yield running, delays


async def test_unknown_credentials_slow_and_then_block_every_app_of_the_address(
    slow_to_anger: tuple[Nextcloud, list[float]],
) -> None:
    nextcloud, delays = slow_to_anger
    app = nextcloud.app_api.register()
    other = nextcloud.app_api.register("another_app")
    right, wrong = headers_of(other, other.secret), headers_of(app, "guess")
    async with httpx.AsyncClient(base_url=nextcloud.url, trust_env=False) as client:

        async def ask(headers: dict[str, str]) -> int:
            answer = await client.get("/ocs/v1.php/apps/app_api/ex-app/state?format=json", headers=headers)
            return int(answer.json()["ocs"]["meta"]["statuscode"])

        assert [await ask(wrong) for _ in range(3)] == [997] * 3
        assert await ask(right) == 100
        assert delays == [0.2, 0.4, 0.8], "the app with the right secret waits, too"
        assert [await ask(wrong) for _ in range(10)] == [997] * 8 + [429] * 2
        assert await ask(right) == 429


def headers_of(app: ExApp, secret: str) -> dict[str, str]:
    authorization = base64.b64encode(f":{secret}".encode()).decode()
    return {"EX-APP-ID": app.app_id, "EX-APP-VERSION": app.version, "AUTHORIZATION-APP-API": authorization}


async def test_what_an_app_saved_outlives_its_registration(nextcloud: Nextcloud, client: AsyncNextcloudApp) -> None:
    await client.appconfig_ex.set_value("lt_key", "one", sensitive=True)
    del nextcloud.app_api.apps["live_transcription"]
    assert nextcloud.app_api.register().config["lt_key"].value == "one"


async def test_only_the_initialisation_may_report_progress_while_disabled(
    nextcloud: Nextcloud, client: AsyncNextcloudApp
) -> None:
    app = the_app(nextcloud)
    app.enabled = app.installing = False
    with pytest.raises(nc_py_api.NextcloudException) as refused:
        await client._session.ocs("PUT", "/ocs/v1.php/apps/app_api/ex-app/status", json={"progress": 5, "error": ""})
    assert refused.value.status_code == 401

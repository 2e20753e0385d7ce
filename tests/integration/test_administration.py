# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app in the administration of Nextcloud 32 to 35: what it registers is shown, saved and run there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httpx
import pytest

from ex_app.application import create_app
from ex_app.nextcloud.gateway import AppApiGateway
from ex_app.routes.admin import OWN_HEADER
from ex_app.settings.read import read_settings
from live_transcription.errors import SignalingRefused
from live_transcription.status import Dependency
from sandbox.nextcloud import ExApp, Nextcloud
from sandbox.nextcloud.occ import Occ, OccError
from sandbox.nextcloud.serving import LoopbackServer
from tests.ex_app.fakes import FakeEngine

PROXY = "/index.php/apps/app_api/proxy/live_transcription"
VALUE = "/ocs/v2.php/settings/api/declarative/value"


@dataclass
class Installed:
    cloud: Nextcloud
    app: ExApp
    engine: FakeEngine
    browser: httpx.AsyncClient

    async def occ(self, *arguments: str) -> list[str]:
        return [line async for line in Occ(self.cloud.app_api).run(arguments)]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture(params=[(32, 0, 0), (33, 0, 3), (35, 0, 0)], ids=["32", "33", "35"])
async def installed(request: pytest.FixtureRequest) -> AsyncIterator[Installed]:
    engine = FakeEngine()
    async with Nextcloud(version=request.param) as cloud:
        app = cloud.app_api.register()
        environment = cloud.app_api.environment(app, port=1)
        product = create_app(environment, engine, AppApiGateway(read_settings(environment).app))
        client = httpx.AsyncClient(
            base_url=cloud.url, cookies={"sandbox_user": "admin"}, headers={OWN_HEADER: "1"}, trust_env=False, timeout=20
        )
        async with product.router.lifespan_context(product), LoopbackServer(product) as server, client:
            app.url = server.url
            await cloud.app_api.install(app, timeout_s=30)
            await until(lambda: app.commands)
            yield Installed(cloud, app, engine, client)


async def test_the_form_in_talks_settings_and_the_page_edit_the_same_values(installed: Installed) -> None:
    page = await installed.browser.get("/settings/admin/talk")
    assert page.status_code == 200
    assert "Live transcription" in page.text
    assert f"/index.php/apps/app_api/embedded/{installed.app.app_id}/settings" in page.text

    form = {"app": installed.app.app_id, "formId": "talk", "fieldId": "lt_default_language", "value": "fr"}
    assert (await installed.browser.post(VALUE, json=form)).status_code == 200
    # The app reads its values once a minute, and when somebody saves.
    settings = (await installed.browser.put(f"{PROXY}/admin/settings", json={"settings": {}})).json()["settings"]
    assert settings["lt_default_language"]["value"] == "fr"
    assert settings["lt_default_language"]["source"] == "saved"

    await installed.browser.put(f"{PROXY}/admin/settings", json={"settings": {"lt_default_language": "de"}})
    assert installed.app.config["lt_default_language"].value == "de"
    shown = (await installed.browser.get("/settings/admin/talk")).text
    assert shown.index("checked") > shown.index('value="fr"')

    cleared = form | {"fieldId": "lt_hpb_url", "value": ""}
    await installed.browser.post(VALUE, json=cleared)
    settings = (await installed.browser.put(f"{PROXY}/admin/settings", json={"settings": {}})).json()["settings"]
    assert settings["lt_hpb_url"]["source"] == "default"


async def test_the_form_and_the_command_are_gone_while_the_app_is_disabled(installed: Installed) -> None:
    await installed.cloud.app_api.disable(installed.app)
    assert "Live transcription" not in (await installed.browser.get("/settings/admin/talk")).text
    with pytest.raises(OccError):
        await installed.occ("live_transcription:selftest")


async def test_occ_runs_the_self_test(installed: Installed) -> None:
    values = {"lt_hpb_url": "https://hpb.example.com", "lt_internal_secret": "secret"}
    await installed.browser.put(f"{PROXY}/admin/settings", json={"settings": values})
    lines = await installed.occ("live_transcription:selftest")
    assert lines[0] == "Nextcloud"
    assert lines[-1].startswith("All checks passed")
    installed.engine.probe_failure = SignalingRefused("The secret is wrong.", fix="Enter the right one.")
    lines = await installed.occ("live_transcription:selftest")
    assert lines[-1] == "Failed at: High-performance backend"
    with pytest.raises(OccError, match="executeHandler failed"):
        await installed.occ("live_transcription:selftest", "--exit-code")


async def test_from_35_on_the_overview_shows_the_health(installed: Installed) -> None:
    supported = installed.cloud.version >= (35,)
    installed.engine.outcomes["hpb"] = Dependency("hpb", "failed", "signaling_refused", "The secret is wrong.", "", 1.0)
    # The app joins last.
    await until(lambda: installed.cloud.app_api.in_setup_checks or not supported)
    await installed.cloud.app_api.refresh_setup_checks()
    lines = await installed.occ("setupchecks")
    # On the loopback, no browser elsewhere could follow a link.
    assert lines == (["✗ Live Transcription: The secret is wrong."] if supported else ["✓ External apps"])

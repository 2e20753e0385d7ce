# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The chip, /healthz, the self-test and the metrics agree, with the real service, an HPB and engines that refuse the app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ex_app import health as ex_app_health
from ex_app.application import create_app
from ex_app.routes.admin import OWN_HEADER
from ex_app.settings.read import read_settings
from live_transcription.service import TranscriptionService
from sandbox import recording
from sandbox.stt_servers.located import located
from sandbox.stt_servers.modal import Behaviour, ModalStandIn
from sandbox.stt_servers.moshi import MoshiStandIn
from tests.ex_app.fakes import SECRET, FakeNextcloud, credentials
from tests.integration.conftest import TalkOnLoopback, talk_on_loopback

#: The test phrase is a part of it.
SOURCE = located([recording.load("en-short")])


class Admin:
    """What an administrator and a monitoring system see."""

    def __init__(self, client: httpx.AsyncClient, talk: TalkOnLoopback, nextcloud: FakeNextcloud) -> None:
        self.talk = talk
        self.nextcloud = nextcloud
        self._client = client

    async def save(self, **settings: str) -> None:
        answer = await self._client.put("/admin/settings", json={"settings": settings}, headers={OWN_HEADER: "1"})
        assert answer.status_code == 200, answer.text

    async def healthz(self) -> dict[str, Any]:
        body: dict[str, Any] = (await self._client.get("/healthz")).json()
        return body

    async def status(self) -> dict[str, Any]:
        body: dict[str, Any] = (await self._client.get("/admin/status")).json()
        return body

    async def dependency(self, name: str) -> dict[str, Any]:
        """As everybody sees it: the page, /healthz and the metrics agree. A change in between is looked at again."""
        while True:
            found = self._named(await self.healthz(), name)
            shown = self._named(await self.status(), name)
            text = (await self._client.get("/metrics")).text
            if self._named(await self.healthz(), name) | {"at": 0} == found | {"at": 0}:
                break
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        (measured,) = [
            (sample.value, sample.labels["code"])
            for sample in samples
            if sample.name == "live_transcription_dependency_state" and sample.labels["dependency"] == name
        ]
        assert measured == ({"unknown": 0, "ok": 1, "warning": 2, "failed": 3}[found["state"]], found["code"])
        assert (shown["state"], shown["code"], bool(shown["fix"])) == (found["state"], found["code"], bool(found["fix"]))
        return found

    @staticmethod
    def _named(body: dict[str, Any], name: str) -> dict[str, Any]:
        found: dict[str, Any]
        (found,) = [each for each in body["dependencies"] if each["name"] == name]
        return found

    async def overall(self) -> str:
        """The status, which the page's chip, /healthz and the metrics agree on."""
        found: str = (await self.healthz())["status"]
        assert (await self.status())["status"] == found
        assert f'live_transcription_health{{status="{found}"}} 1.0' in (await self._client.get("/metrics")).text
        return found

    async def test(self, check: str) -> dict[str, Any]:
        path = "/admin/selftest" if check == "selftest" else f"/admin/test/{check}"
        started = (await self._client.post(path, json={}, headers={OWN_HEADER: "1"})).json()
        async with asyncio.timeout(40):
            while True:
                run: dict[str, Any] = (await self._client.get(f"/admin/test/{started['id']}")).json()
                if run["done"]:
                    return run
                await asyncio.sleep(0.05)


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    """An app that Nextcloud has enabled, with no settings but Nextcloud's address."""
    async with AsyncExitStack() as stack:
        talk = await stack.enter_async_context(talk_on_loopback())
        talk.hpb.hub.throttle.base_delay_s = 0.0
        environment = {"APP_SECRET": SECRET, "NEXTCLOUD_URL": talk.nextcloud.url, "LT_STT_ORDER": "modal,moshi"}
        nextcloud = FakeNextcloud()
        settings = read_settings(environment)
        engine = TranscriptionService(
            settings.engine_config(), nextcloud.ice_servers, stt=settings.engine.stt, wall_clock=time.time
        )
        app = create_app(environment, engine, nextcloud)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        await stack.enter_async_context(app.router.lifespan_context(app))
        client = httpx.AsyncClient(transport=transport, base_url="http://app", headers=credentials())
        yield Admin(await stack.enter_async_context(client), talk, nextcloud)


async def configure(admin: Admin, secret: str = "") -> None:
    await admin.save(lt_hpb_url=admin.talk.hpb.url, lt_internal_secret=secret or admin.talk.internal_secret)


async def hpb_is(admin: Admin, state: str) -> None:
    async with asyncio.timeout(15):
        while (await admin.dependency("hpb"))["state"] != state:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_wrong_secret_shows_seconds_after_it_is_saved_until_the_right_one_is(admin: Admin) -> None:
    assert await admin.overall() == "failed"
    assert (await admin.healthz())["reasons"][0] == "configuration"
    await configure(admin, "not-the-internal-secret")
    await hpb_is(admin, "failed")
    assert await admin.overall() == "failed"
    assert "hpb-refused" in (await admin.healthz())["reasons"]
    failed = await admin.dependency("hpb")
    assert failed["code"] == "signaling_refused"
    assert "refused the internal secret" in failed["cause"]
    assert failed["fix"]
    assert abs(failed["at"] - time.time()) < 60
    run = await admin.test("hpb")
    assert (run["state"], run["failing"]) == ("failed", "hpb")
    await configure(admin)
    await hpb_is(admin, "ok")
    assert "hpb-refused" not in (await admin.healthz())["reasons"]


async def test_after_five_tests_of_a_wrong_secret_the_right_one_is_tested_at_once(admin: Admin) -> None:
    await configure(admin, "not-the-internal-secret")
    for _ in range(5):
        assert (await admin.test("hpb"))["state"] == "failed"
    assert admin.talk.failed_hellos() <= 6
    await configure(admin)
    assert (await admin.test("hpb"))["state"] == "ok"
    assert (await admin.dependency("hpb"))["state"] == "ok"


async def test_a_backend_that_is_gone_shows_without_a_call(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ex_app_health, "HPB_CHECK_S", 0.2)
    await admin.save(lt_hpb_url="http://127.0.0.1:9", lt_internal_secret=admin.talk.internal_secret)
    await hpb_is(admin, "failed")
    assert "hpb-unreachable" in (await admin.healthz())["reasons"]
    await configure(admin)
    await hpb_is(admin, "ok")
    await admin.talk.hpb.restart(internal_secret="another secret of the backend")
    await hpb_is(admin, "failed")
    assert "hpb-refused" in (await admin.healthz())["reasons"]
    failures = admin.talk.failed_hellos()
    await asyncio.sleep(1.0)
    assert admin.talk.failed_hellos() == failures, "a refused secret is not tested once a minute"


async def test_an_engine_that_refuses_the_key_is_a_warning_while_another_one_works(admin: Admin) -> None:
    await configure(admin)
    await hpb_is(admin, "ok")
    behaviour = Behaviour(key="wk-the-right-key", secret="ws-the-right-secret")
    async with ModalStandIn(SOURCE, behaviour) as modal, MoshiStandIn(SOURCE, api_key="moshi-key") as moshi:
        await admin.save(
            lt_modal_url=modal.stream_url,
            lt_modal_key="wk-the-right-key",
            lt_modal_secret="ws-a-wrong-secret",
            lt_modal_credentials_anywhere="true",
            lt_moshi_url=moshi.stream_url,
            lt_moshi_key="moshi-key",
        )
        assert await admin.overall() == "untested"
        run = await admin.test("selftest")
        assert (run["state"], run["failing"]) == ("warning", ""), run
        (warned,) = [step for step in run["steps"] if step["id"] == "stt.open" and step["state"] == "warning"]
        assert "refused the credentials" in warned["message"]
        assert await admin.overall() == "degraded"
        # A busy machine may add its load.
        assert [each for each in (await admin.healthz())["reasons"] if each != "load"] == ["engine:modal"]
        refused = await admin.dependency("engine:modal")
        assert (refused["state"], refused["code"]) == ("failed", "stt_refused")
        assert (await admin.dependency("engine:moshi"))["state"] == "ok"
        assert "ws-a-wrong-secret" not in str(await admin.status())

        await admin.save(lt_modal_secret="ws-the-right-secret")
        assert (await admin.dependency("engine:modal"))["state"] == "unknown", "its setting has changed"
        assert (await admin.dependency("engine:moshi"))["state"] == "ok", "that of this one has not"
        assert (await admin.test("selftest"))["state"] == "ok"
        assert await admin.overall() == "ok"
        assert (await admin.healthz())["reasons"] == []

        async with moshi.outage():
            await admin.save(lt_modal_secret="ws-a-wrong-secret")
            run = await admin.test("stt")
            assert (run["state"], run["failing"]) == ("failed", "stt")
            assert await admin.overall() == "failed"
            assert (await admin.healthz())["reasons"] == ["speech-to-text"]


async def test_an_engine_that_is_half_configured_is_a_warning(admin: Admin) -> None:
    await configure(admin)
    async with MoshiStandIn(SOURCE, api_key="moshi-key") as moshi:
        await admin.save(lt_moshi_url=moshi.stream_url, lt_moshi_key="moshi-key", lt_modal_key="wk-the-right-key")
        run = await admin.test("selftest")
        assert run["state"] == "warning", [step for step in run["steps"] if step["state"] == "failed"]
        (warned,) = [step for step in run["steps"] if step["id"] == "stt.unused"]
        assert warned["fix"]
        assert (await admin.dependency("engine:modal"))["state"] == "warning"
        assert await admin.overall() == "degraded"
        assert (await admin.healthz())["reasons"] == ["engine:modal"]


async def test_an_engine_that_is_not_selected_may_be_half_configured(admin: Admin) -> None:
    await admin.save(lt_stt_order="moshi", lt_modal_key="wk-the-right-key")
    assert "engine:modal" not in {each["name"] for each in (await admin.healthz())["dependencies"]}
    assert "Modal" not in str((await admin.healthz())["explanations"])


async def test_other_settings_that_are_invalid_are_named_everywhere(admin: Admin) -> None:
    admin.nextcloud.values["lt_max_calls"] = "many"  # as occ saves it
    await configure(admin)
    run = await admin.test("nextcloud")
    assert run["state"] == "warning"
    assert [step["title"] for step in run["steps"] if step["id"] == "settings.invalid"] == ["Maximum concurrent calls"]
    assert "LT_MAX_CALLS" in (await admin.healthz())["explanations"]["configuration"]


async def test_nextcloud_counts_unless_it_does_not_know_the_app_yet(admin: Admin) -> None:
    assert (await admin.test("nextcloud"))["state"] == "ok"
    assert (await admin.dependency("nextcloud"))["state"] == "ok"
    admin.nextcloud.failures = 1
    assert (await admin.test("nextcloud"))["state"] == "failed"
    failed = await admin.dependency("nextcloud")
    assert (failed["state"], failed["code"]) == ("failed", "nextcloud")
    assert "nextcloud" in (await admin.healthz())["reasons"]
    assert (await admin.test("nextcloud"))["state"] == "ok"
    assert (await admin.dependency("nextcloud"))["state"] == "ok"


async def test_the_configured_engine_is_prepared_although_the_backend_is_not_configured() -> None:
    """Otherwise a wrong directory of the model would stay unnoticed until the first call."""
    environment = {"APP_SECRET": SECRET, "LT_MODEL_DIRECTORY": "/nonexistent", "LT_STT_ORDER": "embedded"}
    settings = read_settings(environment)
    nextcloud = FakeNextcloud()
    engine = TranscriptionService(
        settings.engine_config(), nextcloud.ice_servers, stt=settings.engine.stt, wall_clock=time.time
    )
    app = create_app(environment, engine, nextcloud, init_steps=[engine.prepare])
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app", headers=credentials()) as client,
        asyncio.timeout(10),
    ):
        await client.post("/init")
        while not any(error for _, error in nextcloud.reports):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert "/nonexistent does not exist" in nextcloud.reports[-1][1]

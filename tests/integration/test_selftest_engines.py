# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The test of speech-to-text on the settings page, with servers that work, start, are full, or refuse the key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from ex_app.application import create_app
from ex_app.nextcloud.gateway import AppApiGateway
from ex_app.routes.admin import OWN_HEADER
from ex_app.selftest.recording import TEXT
from ex_app.settings.read import read_settings
from live_transcription.service import TranscriptionService
from sandbox import recording
from sandbox.nextcloud import Nextcloud
from sandbox.nextcloud.serving import LoopbackServer
from sandbox.stt_servers.faults import Fault, FaultKind
from sandbox.stt_servers.fleet import Fleet
from sandbox.stt_servers.located import located
from sandbox.stt_servers.modal import Behaviour, ModalStandIn
from sandbox.stt_servers.moshi import MoshiStandIn
from sandbox.word_error_rate import normalise

PROXY = "/index.php/apps/app_api/proxy/live_transcription"
#: The test phrase is a part of it.
SOURCE = located([recording.load("en-short")])
KEY, SECRET = "wk-the-right-key", "ws-the-right-secret"
MOSHI_KEY = "the-right-moshi-key"


class Page:
    """What an administrator's browser asks."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.seen: list[dict[str, Any]] = []

    async def save(self, **settings: str) -> None:
        answer = await self._client.put(f"{PROXY}/admin/settings", json={"settings": settings})
        assert answer.status_code == 200, answer.text

    async def test(self, hop: str = "stt") -> dict[str, Any]:
        """The steps of the test by their ids, as they stand in the end; `seen` keeps every look."""
        started = (await self._client.post(f"{PROXY}/admin/test/{hop}", json={})).json()
        async with asyncio.timeout(60):
            while True:
                answer = await self._client.get(f"{PROXY}/admin/test/{started['id']}")
                for secret in (KEY, SECRET, MOSHI_KEY, "wrong-secret"):
                    assert secret not in answer.text
                self.seen.append(answer.json())
                if answer.json()["done"]:
                    return {step["id"]: step for step in answer.json()["steps"]} | {"whole": answer.json()}
                await asyncio.sleep(0.1)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """An app that AppAPI has enabled; no engine but the remote ones may serve."""
    async with Nextcloud() as cloud:
        app = cloud.app_api.register()
        environment = cloud.app_api.environment(app, port=1) | {"LT_STT_FALLBACK": "false"}
        settings = read_settings(environment)
        nextcloud = AppApiGateway(settings.app)
        engine = TranscriptionService(settings.engine_config(), nextcloud.ice_servers, wall_clock=time.time)
        product = create_app(environment, engine, nextcloud)
        async with (
            product.router.lifespan_context(product),
            LoopbackServer(product) as server,
            httpx.AsyncClient(
                base_url=cloud.url, cookies={"sandbox_user": "admin"}, headers={OWN_HEADER: "1"}, trust_env=False, timeout=20
            ) as client,
        ):
            app.url = server.url
            await cloud.app_api.install(app, timeout_s=30)
            page = Page(client)
            await page.save(lt_hpb_url="https://hpb.example.com", lt_internal_secret="an-internal-secret")
            yield page


@asynccontextmanager
async def modal(page: Page, *, secret: str = SECRET, fleet: Fleet | None = None) -> AsyncIterator[ModalStandIn]:
    async with ModalStandIn(SOURCE, Behaviour(key=KEY, secret=SECRET), fleet=fleet) as server:
        await page.save(
            lt_modal_url=server.stream_url, lt_modal_key=KEY, lt_modal_secret=secret, lt_modal_credentials_anywhere="true"
        )
        yield server


@asynccontextmanager
async def moshi(page: Page, *, key: str = MOSHI_KEY) -> AsyncIterator[MoshiStandIn]:
    async with MoshiStandIn(SOURCE, api_key=MOSHI_KEY) as server:
        await page.save(lt_moshi_url=server.stream_url, lt_moshi_key=key)
        yield server


def understood(text: str) -> bool:
    return normalise(text, "en")[-4:] == normalise(TEXT, "en")[-4:]


async def test_modal_that_works_shows_what_was_said(page: Page) -> None:
    async with modal(page) as server:
        steps = await page.test()
        assert steps["whole"]["state"] == "ok", steps
        assert steps["stt.open"]["title"] == "Modal: starting the engine"
        assert understood(steps["stt.transcribe"]["detail"]), steps
        async with asyncio.timeout(5):
            while server.open_sessions:  # noqa: ASYNC110  the stand-in tells no one
                await asyncio.sleep(0.02)


async def test_modals_cold_start_is_counted_and_then_works(page: Page) -> None:
    async with modal(page, fleet=Fleet(cold_start_s=2.5)):
        steps = await page.test()
        assert steps["whole"]["state"] == "ok", steps
        assert steps["stt.open"]["seconds"] >= 2.0
        waiting = [
            step for look in page.seen for step in look["steps"] if step["id"] == "stt.open" and step["state"] == "running"
        ]
        assert len({step["seconds"] for step in waiting}) > 3, "the page sees the seconds go by"
        assert waiting[0]["expected_s"] > 2.5, "and has a bar for them"
        assert understood(steps["stt.transcribe"]["detail"])


async def test_modals_wrong_key_is_named_at_once(page: Page) -> None:
    async with modal(page, secret="ws-wrong-secret"):
        steps = await page.test()
        failed = steps["stt.open"]
        assert (steps["whole"]["failing"], failed["state"]) == ("stt", "failed")
        assert "refused the credentials" in failed["message"]
        assert "key" in failed["fix"]
        assert failed["seconds"] < 10


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [(FaultKind.FULL, "stt_at_capacity", "full"), (FaultKind.MODEL_DOWN, "stt_unavailable", "broke")],
)
async def test_modal_without_room_or_without_a_model_fails_plainly(
    page: Page, fault: FaultKind, code: str, message: str
) -> None:
    async with modal(page) as server:
        server.faults.add(Fault(fault, times=None))
        steps = await page.test()
        assert steps["whole"]["failing"] == "stt"
        failed = next(step for step in steps["whole"]["steps"] if step["state"] == "failed")
        assert failed["code"] == code
        assert message in failed["message"]
        assert failed["fix"]


async def test_modals_limit_of_sessions_is_named(page: Page) -> None:
    async with modal(page) as server:
        server.faults.add(Fault(FaultKind.STATUS, times=None, status=429))
        steps = await page.test()
        failed = next(step for step in steps["whole"]["steps"] if step["state"] == "failed")
        assert failed["code"] == "stt_at_capacity"
        assert failed["fix"]


async def test_a_moshi_server_that_works_shows_what_was_said(page: Page) -> None:
    async with moshi(page):
        steps = await page.test()
        assert steps["whole"]["state"] == "ok", steps
        assert steps["stt.open"]["title"] == "moshi-server: starting the engine"
        assert understood(steps["stt.transcribe"]["detail"]), steps


async def test_a_moshi_servers_wrong_key_is_named_at_once(page: Page) -> None:
    async with moshi(page, key="wrong-secret"):
        steps = await page.test()
        failed = steps["stt.open"]
        assert failed["state"] == "failed"
        assert "key" in f"{failed['message']} {failed['fix']}".lower()


async def test_a_full_moshi_server_says_so(page: Page) -> None:
    async with moshi(page) as server:
        server.faults.add(Fault(FaultKind.FULL, times=None))
        steps = await page.test()
        failed = next(step for step in steps["whole"]["steps"] if step["state"] == "failed")
        assert failed["code"] == "stt_at_capacity"
        assert failed["fix"]


async def test_a_moshi_server_that_is_away_is_named_as_unreachable(page: Page) -> None:
    async with moshi(page) as server, server.outage():
        steps = await page.test()
        failed = next(step for step in steps["whole"]["steps"] if step["state"] == "failed")
        assert "reach" in failed["message"].lower()

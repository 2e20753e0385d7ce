# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The whole product: installed by AppAPI without settings, then set up through the settings page's requests."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from ex_app.application import create_app
from ex_app.nextcloud.gateway import AppApiGateway
from ex_app.routes.admin import OWN_HEADER
from ex_app.settings.read import read_settings
from live_transcription.service import TranscriptionService
from sandbox.nextcloud.serving import LoopbackServer
from tests.integration.conftest import TalkOnLoopback

PROXY = "/index.php/apps/app_api/proxy/live_transcription"


async def selftest(client: httpx.AsyncClient) -> dict[str, Any]:
    started = (await client.post(f"{PROXY}/admin/selftest", json={})).json()
    async with asyncio.timeout(60):
        while True:
            trial: dict[str, Any] = (await client.get(f"{PROXY}/admin/test/{started['id']}")).json()
            if trial["done"]:
                return trial
            await asyncio.sleep(0.1)


@pytest.mark.model
async def test_from_nothing_to_a_green_selftest_and_a_captioned_call(talk: TalkOnLoopback) -> None:
    cloud = talk.nextcloud
    app = cloud.app_api.register()
    environment = cloud.app_api.environment(app, port=1)
    settings = read_settings(environment)
    nextcloud = AppApiGateway(settings.app)
    engine = TranscriptionService(settings.engine_config(), nextcloud.ice_servers, wall_clock=time.time)
    product = create_app(environment, engine, nextcloud)
    cookies, own = {"sandbox_user": "admin"}, {OWN_HEADER: "1"}
    async with (
        product.router.lifespan_context(product),
        LoopbackServer(product) as server,
        httpx.AsyncClient(base_url=cloud.url, cookies=cookies, headers=own, trust_env=False, timeout=20) as client,
    ):
        app.url = server.url
        await cloud.app_api.install(app, timeout_s=30)
        before = await selftest(client)
        assert before["failing"] == "hpb"
        values = {"lt_hpb_url": talk.hpb.url, "lt_internal_secret": talk.internal_secret}
        saved = await client.put(f"{PROXY}/admin/settings", json={"settings": values})
        assert saved.status_code == 200, saved.text
        after = await selftest(client)
        assert after["failing"] == "", after
        assert any("unable to locate" in step["detail"].lower() for step in after["steps"]), after
        listener = await talk.caller("listener")
        answer = await cloud.talk.enable_captions(talk.room, listener.nextcloud_session_id, "listener")
        assert answer.ok
        assert (await client.get(f"{PROXY}/admin/status")).json()["calls"] == 1

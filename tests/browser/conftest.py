# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The settings page in a real Chromium, embedded by a Nextcloud stand-in as AppAPI embeds it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from ex_app import history
from ex_app.application import create_app
from ex_app.nextcloud.gateway import AppApiGateway
from ex_app.settings.read import read_settings
from sandbox.nextcloud import ExApp, Nextcloud
from sandbox.nextcloud.serving import LoopbackServer
from tests.ex_app.fakes import FakeEngine

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
PAGE = "/index.php/apps/app_api/embedded/live_transcription/settings"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class World:
    """`app` is what AppAPI knows of the app, `engine` what the app drives."""

    cloud: Nextcloud
    app: ExApp
    engine: FakeEngine


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """An app that AppAPI has installed, by its own protocol, with nothing set but Nextcloud's address."""
    monkeypatch.setattr(history, "SAMPLE_S", 0.3)
    async with Nextcloud() as cloud:
        app = cloud.app_api.register()
        cloud.talk.stun_servers = [{"urls": ["stun:stun.example.com:443"]}]
        environment = cloud.app_api.environment(app, port=1)
        engine = FakeEngine()
        engine.rooms = {}
        nextcloud = AppApiGateway(read_settings(environment).app)
        product = create_app(environment, engine, nextcloud)
        async with product.router.lifespan_context(product), LoopbackServer(product) as server:
            app.url = server.url
            await cloud.app_api.install(app, timeout_s=30)
            async with asyncio.timeout(10):
                while "style" not in app.ui:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            yield World(cloud, app, engine)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        await chromium.close()


@dataclass
class Opened:
    """`complaints`: what the browser's console said, uncaught errors included; `requested`: every address it asked."""

    page: Page
    complaints: list[str]
    requested: list[str]


@asynccontextmanager
async def opened(
    browser: Browser,
    world: World,
    *,
    user: str = "admin",
    lang: str = "en",
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    ready: bool = True,
) -> AsyncIterator[Opened]:
    """The page as this user sees it; `ready`: wait until the first status is shown."""
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale={"fr": "fr-FR", "de": "de-DE"}.get(lang, "en-GB"),
        reduced_motion="reduce",
    )
    page = await context.new_page()
    seen = Opened(page, [], [])
    page.on("console", lambda message: seen.complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requested.append(request.url))
    try:
        await page.goto(f"{world.cloud.url}/login?user={user}&lang={lang}&to={PAGE}")
        if ready:
            await page.locator(".lt-tile").first.wait_for(timeout=15_000)
        yield seen
    finally:
        await context.close()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Take the pictures of the settings page for docs/images: `make screenshots`.

The app runs as a process of its own in the sandbox's Nextcloud, with the sandbox's high-performance backend. Chromium shows its
page in four states: *new*, *healthy* after a self-test, *wrong secret*, and *degraded* while an engine cannot be reached.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from playwright.async_api import Page, async_playwright, expect

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sandbox import loopback_ice  # noqa: E402
from sandbox.demo.processes import Child, bare_environment  # noqa: E402
from sandbox.demo.setup import stand_in  # noqa: E402
from sandbox.nextcloud import Nextcloud  # noqa: E402
from sandbox.ports import free_port  # noqa: E402

PAGE = "/index.php/apps/app_api/embedded/live_transcription/settings"
WIDTH = 1000
#: Milliseconds for the whole self-test, which loads the engine.
SELF_TEST_MS = 120_000


async def take(images: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("screenshots: there is no chromium (Debian: apt-get install chromium)")
    async with AsyncExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cloud = await stack.enter_async_context(Nextcloud())
        signaling = await stack.enter_async_context(stand_in(cloud, logs))
        cloud.hpb_url = signaling.url
        app = cloud.app_api.register()
        environment = {**bare_environment(), **cloud.app_api.environment(app, port=free_port(), storage=str(logs))}
        child = Child("The app", "ex_app.main", log=logs / "app.log", environment=loopback_ice.child_environment(environment))
        await stack.enter_async_context(child)
        await cloud.app_api.install(app, timeout_s=120)
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        stack.push_async_callback(browser.close)
        page = await browser.new_page(
            viewport={"width": WIDTH, "height": 860}, locale="en-GB", reduced_motion="reduce", color_scheme="light"
        )

        async def opened() -> None:
            await page.goto(f"{cloud.url}/login?user=admin&lang=en&to={PAGE}")
            await page.locator(".lt-tile").first.wait_for(timeout=30_000)

        address, secret = (
            page.get_by_label("Address of the high-performance backend"),
            page.get_by_label("Internal secret", exact=True),
        )
        verdict = page.locator("[data-result=selftest] .lt-verdict")

        async def self_test(outcome: str) -> None:
            """From a page that has just been opened, so that the status comes first."""
            await opened()
            await page.get_by_role("button", name="Run the self-test").click()
            await expect(verdict).to_contain_text(outcome, timeout=SELF_TEST_MS)
            await settle(page)

        async def save() -> None:
            await page.get_by_role("button", name="Save").click()
            await expect(page.locator("#lt-save-state")).to_have_text("Saved.", timeout=30_000)

        await opened()
        await picture(page, images / "settings-new.png", 860)

        await address.fill(signaling.url)
        await secret.fill(signaling.internal_secret)
        await save()
        await self_test("All checks passed")
        await picture(page, images / "settings-healthy.png", 1450)

        await secret.fill("the-secret-of-something-else")
        await save()
        await self_test("Failed at")
        await picture(page, images / "settings-wrong-secret.png", 1640)

        await secret.fill(signaling.internal_secret)
        await page.locator("[data-engine=moshi] summary").click()
        await page.get_by_label("moshi-server: address").fill(f"ws://127.0.0.1:{free_port()}")
        await save()
        await self_test("All checks passed, with warnings")
        await picture(page, images / "settings-degraded.png", 1450)


async def settle(page: Page) -> None:
    """Wait until the status has been asked for once more; the page does so every five seconds."""
    async with page.expect_response(lambda response: response.url.endswith("/admin/status"), timeout=30_000):
        pass
    await page.wait_for_timeout(200)


async def picture(page: Page, path: Path, height: int) -> None:
    await page.set_viewport_size({"width": WIDTH, "height": height})
    await page.evaluate("document.activeElement.blur(); document.querySelector('#content').scrollTo(0, 0)")
    await page.screenshot(path=path)
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take the pictures of the settings page.")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images", help="folder for the pictures")
    arguments = parser.parse_args()
    arguments.images.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(arguments.images))

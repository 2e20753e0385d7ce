# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What an administrator does on the settings page, and what nobody else can."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from ex_app import application
from ex_app.selftest.recording import TEXT
from live_transcription.errors import SignalingRefused
from live_transcription.observability import metrics
from live_transcription.status import Condition, Dependency, EngineState, MemoryStatus, RecordedError, SpeechStatus
from sandbox.nextcloud.app_api import ConfigValue
from tests.browser.conftest import PAGE, SCREENSHOTS, World, opened

pytestmark = pytest.mark.browser
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
PROXY = "/index.php/apps/app_api/proxy/live_transcription"


async def violations(page: Any) -> list[str]:
    await page.evaluate(AXE)
    found: dict[str, Any] = await page.evaluate(
        "axe.run('#content', {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    return [
        f"{rule['id']}: {node['html'][:160]} {node.get('failureSummary')}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


async def configure(page: Any) -> None:
    await page.get_by_label("Address of the high-performance backend").fill("https://hpb.example.com")
    await page.get_by_label("Internal secret", exact=True).fill("some-secret")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#lt-save-state")).to_have_text("Saved.")
    await page.evaluate("LiveTranscription.status.refresh()")


async def test_a_first_time_administrator_gets_from_nothing_to_a_green_selftest(browser: Browser, world: World) -> None:
    async with opened(browser, world) as seen:
        page = seen.page
        await page.get_by_role("button", name="Run the self-test").click()
        await expect(page.get_by_text("Failed at: High-performance backend")).to_be_visible(timeout=15_000)
        await expect(page.get_by_text("is not set.").first).to_be_visible()
        await page.get_by_label("Address of the high-performance backend").fill("https://hpb.example.com/standalone-signaling")
        await page.get_by_label("Internal secret", exact=True).fill("the-internal-secret")
        await expect(page.locator("#lt-save-state")).to_have_text("2 changes are not saved.")
        await page.get_by_role("button", name="Run the self-test").click()
        await expect(page.get_by_text("All checks passed.")).to_be_visible(timeout=15_000)
        await expect(page.locator("[data-result=selftest]").get_by_text(TEXT)).to_be_visible()
        assert world.app.config["lt_internal_secret"] == ConfigValue("the-internal-secret", sensitive=True)
        assert world.engine.probed[-1].url == "https://hpb.example.com/standalone-signaling"
        assert "the-internal-secret" not in await page.content()
        await page.reload()
        secret = page.get_by_label("Internal secret", exact=True)
        await expect(secret).to_have_value("")
        await expect(secret).to_have_attribute("placeholder", "Set. Leave empty to keep the current value.")
        assert seen.complaints == []
        assert all(url.startswith(world.cloud.url) for url in seen.requested), "nothing comes from elsewhere"


async def test_saving_says_what_is_saved_what_is_wrong_and_what_is_kept(browser: Browser, world: World) -> None:
    async with opened(browser, world) as seen:
        page = seen.page
        address = page.get_by_label("Address of the high-performance backend")
        await address.fill("nonsense")
        await page.get_by_label("Default language").select_option("fr")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#lt-field-lt_hpb_url-error")).to_contain_text(
            "Enter an address such as https://cloud.example.com/standalone-signaling."
        )
        await expect(address).to_be_focused()
        below = "(e => document.querySelector('.lt-save').getBoundingClientRect().top - e.getBoundingClientRect().bottom)"
        assert await address.evaluate(below) > 0, "the bar at the bottom hides nothing that has the focus"
        await expect(address).to_have_attribute("aria-invalid", "true")
        assert "lt_default_language" not in world.app.config
        await address.fill("wss://hpb.example.com")
        await page.get_by_label("Internal secret", exact=True).fill("secret-number-one")
        await page.keyboard.press("Enter")
        await expect(page.locator("#lt-save-state")).to_have_text("Saved.")
        await expect(page.locator("#lt-field-lt_hpb_url-note")).to_have_text("Saved.")
        assert world.engine.applied[-1].default_language == "fr"  # type: ignore[union-attr]
        await page.locator("[data-engine=moshi] summary").click()
        await page.get_by_label("moshi-server: address").fill("ws://stt.example.com:8080")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#lt-field-lt_moshi_url-note")).to_have_text("Saved.")
        assert world.app.config["lt_internal_secret"].value == "secret-number-one", "an empty secret field changes nothing"
        await page.get_by_role("button", name="Remove: Internal secret").click()
        await expect(page.locator("#lt-field-lt_internal_secret-note")).to_have_text("Removed when you save.")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#lt-save-state")).to_have_text("Saved.")
        assert "lt_internal_secret" not in world.app.config


async def test_all_settings_are_forgotten_after_a_confirmation_by_keyboard(browser: Browser, world: World) -> None:
    world.app.config |= {"lt_internal_secret": ConfigValue("secret", True), "lt_default_language": ConfigValue("fr")}
    async with opened(browser, world) as seen:
        page = seen.page
        forget = page.get_by_role("button", name="Forget all settings")
        dialog = page.get_by_role("dialog", name="Forget all settings?")
        await forget.focus()
        await page.keyboard.press("Enter")
        await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        assert await violations(page) == []
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await expect(forget).to_be_focused()
        assert "lt_internal_secret" in world.app.config
        # What was entered is gone with the settings; the browser asks nothing.
        await page.get_by_label("Address of the high-performance backend").fill("wss://hpb.example.com")
        await forget.focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("All saved settings were deleted.")).to_be_focused(timeout=15_000)
        assert not world.app.config
        await expect(page.get_by_label("Address of the high-performance backend")).to_have_value("")
        await page.reload()
        await page.get_by_role("button", name="Run the self-test").wait_for()
        await expect(page.get_by_text("All saved settings were deleted.")).to_have_count(0)
        assert seen.complaints == []


async def test_settings_that_could_not_be_deleted_say_why(browser: Browser, world: World) -> None:
    world.app.config["lt_internal_secret"] = ConfigValue("secret", True)
    async with opened(browser, world) as seen:
        world.app.url = "http://127.0.0.1:9"
        await seen.page.get_by_role("button", name="Forget all settings").click()
        await seen.page.get_by_role("button", name="Delete").click()
        state = seen.page.locator("#lt-forget-state")
        await expect(state).to_contain_text("Could not delete the settings. ")
        await expect(state).to_contain_text("Is its container running?")
        assert "lt_internal_secret" in world.app.config


async def test_engines_are_ordered_by_keyboard_and_defaults_come_back(browser: Browser, world: World) -> None:
    async with opened(browser, world) as seen:
        page = seen.page
        up = page.get_by_role("button", name="Move up: This machine")
        await up.focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Enter")
        await page.get_by_role("checkbox", name="Modal").first.uncheck()
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#lt-save-state")).to_have_text("Saved.")
        assert world.app.config["lt_stt_order"].value == "embedded,moshi"
        await page.locator("[data-key=lt_stt_order] [data-reset]").click()
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#lt-save-state")).to_have_text("Saved.")
        assert "lt_stt_order" not in world.app.config
        await expect(page.locator(".lt-order li").first).to_contain_text("Modal")


async def test_a_cold_start_is_counted_with_a_bar(browser: Browser, world: World) -> None:
    world.engine.probe_pause = asyncio.Event()
    async with opened(browser, world) as seen:
        await seen.page.get_by_role("button", name="Test speech-to-text").click()
        result = seen.page.locator("[data-result=stt]")
        await expect(result).to_contain_text("Running the checks…")
        await expect(result).to_contain_text("transcribing a sentence")
        world.engine.probe_pause.set()
        await expect(result).to_contain_text("All checks passed.", timeout=10_000)
        await expect(result).to_contain_text(TEXT)


async def test_the_status_shows_what_goes_on_and_hostile_text_stays_text(browser: Browser, world: World) -> None:
    hostile = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
    world.engine.rooms = {"room1": {"nc1": None, "nc2": None}}
    world.engine.errors = (RecordedError(1_750_000_000.0, "stt", hostile),)
    world.engine.speech = SpeechStatus((EngineState("modal", "starting", hostile),), 1, 600.0, 2, 0.5)
    world.engine.probe_failure = SignalingRefused(hostile, fix=hostile)
    async with opened(browser, world) as seen:
        page = seen.page
        await expect(page.locator("#lt-errors")).to_contain_text("<img src=x")
        await expect(page.locator("#lt-engines")).to_contain_text("<img src=x")
        await expect(page.locator(".lt-tile", has_text="Readers")).to_contain_text("2")
        await expect(page.locator(".lt-tile", has_text="GPU connection minutes")).to_contain_text("10")
        await page.get_by_label("Address of the high-performance backend").fill("https://hpb.example.com")
        await page.get_by_label("Internal secret", exact=True).fill("some-secret")
        await page.get_by_role("button", name="Test the backend").click()
        await expect(page.locator("[data-result=hpb]")).to_contain_text("<img src=x", timeout=10_000)
        assert await page.locator("#live-transcription img, #live-transcription script").count() == 0
        assert "owned" not in await page.title()


async def test_every_button_says_so_while_the_app_is_away(browser: Browser, world: World) -> None:
    async with opened(browser, world) as seen:
        page = seen.page
        world.app.url = "http://127.0.0.1:9"
        for check in ("selftest", "nextcloud", "hpb", "ice", "stt"):
            await page.locator(f"[data-test={check}]").click()
            result = page.locator(f"[data-result={check}]")
            await expect(result).to_contain_text("Could not run the checks.")
            await expect(result).to_contain_text("Is its container running?")
        await page.get_by_label("Address of the high-performance backend").fill("https://hpb.example.com")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#lt-save-state")).to_contain_text("Is its container running?")
        # The self-test saves first, which fails: that, too, is said where the administrator looks.
        await page.get_by_role("button", name="Run the self-test").click()
        await expect(page.locator("[data-result=selftest]")).to_contain_text("Nothing was saved.")
        await expect(page.locator("#lt-status-state")).to_have_text("No status", timeout=10_000)
        await expect(page.locator("#lt-banner")).to_contain_text("Is its container running?")


@pytest.mark.parametrize(
    ("lang", "reason", "again"),
    [("en", "Is its container running?", "Try again"), ("de", "Läuft ihr Container?", "Erneut versuchen")],
)
async def test_a_page_of_an_app_that_is_away_says_why(
    browser: Browser, world: World, monkeypatch: pytest.MonkeyPatch, lang: str, reason: str, again: str
) -> None:
    """The scripts come from the app, too. The browser has kept them, and they are out of date at once here."""
    monkeypatch.setattr(application, "_KEEP", application._KEEP.replace("max-age=60", "max-age=0"))
    async with opened(browser, world, lang=lang) as seen:
        running, world.app.url = world.app.url, "http://127.0.0.1:9"
        for _ in range(2):
            await seen.page.goto("about:blank")
            await seen.page.goto(world.cloud.url + PAGE)
            await expect(seen.page.get_by_role("alert")).to_contain_text(reason)
        world.app.url = running
        await seen.page.get_by_role("button", name=again).click()
        await expect(seen.page.locator("#lt-form")).to_be_visible()


async def test_a_page_whose_script_is_missing_says_so(browser: Browser, world: World) -> None:
    async with opened(browser, world) as seen:
        for name in ("form", "api"):
            await seen.page.route(f"**/live_transcription-{name}.js*", lambda route: route.fulfill(status=500))
            await seen.page.goto(world.cloud.url + PAGE)
            await expect(seen.page.get_by_role("alert")).to_contain_text("The page could not be set up.")
            await seen.page.unroute_all()
        await seen.page.get_by_role("button", name="Reload the page").click()
        await expect(seen.page.locator("#lt-form")).to_be_visible()


async def test_the_help_opens_guides_that_lead_to_one_another(browser: Browser, world: World) -> None:
    async with opened(browser, world) as seen:
        await seen.page.locator("[data-engine=modal] summary").click()
        for link, heading in (("Help", "Settings"), ("Guide: Modal", "Kyutai on Modal")):
            async with seen.page.context.expect_page() as opening:
                await seen.page.get_by_role("link", name=link, exact=True).click()
            guide = await opening.value
            await expect(guide.get_by_role("heading", level=1)).to_have_text(heading)
        await expect(guide.get_by_role("table").first).to_be_visible()
        for name in await guide.get_by_role("navigation").get_by_role("listitem").all_inner_texts():
            await guide.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
            await expect(guide.get_by_role("heading", level=1)).to_have_text(name)
            assert await violations(guide) == [], name
        await guide.get_by_role("navigation").get_by_role("link", name="Kyutai on Modal").click()
        await expect(guide.get_by_role("heading", level=1)).to_have_text("Kyutai on Modal")
        await guide.get_by_role("navigation").get_by_role("link", name="Troubleshooting").click()
        await expect(guide.get_by_role("heading", level=1)).to_have_text("Troubleshooting")
        await guide.go_back()
        await expect(guide.get_by_role("heading", level=1)).to_have_text("Kyutai on Modal")
        await guide.get_by_role("link", name="Settings of Live transcription").click()
        await expect(guide.locator(".lt-tile").first).to_be_visible()


async def test_the_settings_come_first_until_the_app_is_configured(browser: Browser, world: World) -> None:
    async with opened(browser, world) as seen:
        page = seen.page
        address = page.get_by_label("Address of the high-performance backend")
        top = "(name) => document.querySelector(name).getBoundingClientRect().top"
        assert await page.evaluate(top, "#lt-form") < await page.evaluate(top, "#lt-tiles")
        await expect(page.locator(".lt-field--wrong")).to_have_count(0)
        await expect(address).to_have_attribute("aria-required", "true")
        await address.fill("https://hpb.example.com")
        await page.get_by_label("Internal secret", exact=True).fill("a-secret")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#lt-save-state")).to_have_text("Saved.")
        await page.reload()
        await page.locator(".lt-tile").first.wait_for()
        assert await page.evaluate(top, "#lt-form") > await page.evaluate(top, "#lt-tiles")


async def test_an_engines_section_opens_when_the_engine_is_selected_or_wrong(browser: Browser, world: World) -> None:
    async with opened(browser, world) as seen:
        page = seen.page
        modal, moshi = page.locator("[data-engine=modal]"), page.locator("[data-engine=moshi]")
        await expect(modal).not_to_have_attribute("open", "")
        box = page.locator(".lt-order").get_by_role("checkbox", name="Modal")
        await box.uncheck()
        await box.check()
        await expect(modal).to_have_attribute("open", "")
        await expect(modal.get_by_text("Not configured")).to_be_visible()
        await moshi.locator("summary").click()
        await page.get_by_label("moshi-server: address").fill("nonsense")
        await moshi.locator("summary").click()
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#lt-field-lt_moshi_url-error")).to_have_text(
            "Enter an address such as wss://stt.example.com."
        )
        await expect(page.get_by_label("moshi-server: address")).to_be_focused()


@pytest.mark.parametrize("lang", ["en", "fr", "de"])
async def test_it_is_accessible_in_light_dark_and_on_a_phone(browser: Browser, world: World, lang: str) -> None:
    async with opened(browser, world, lang=lang) as seen:
        page = seen.page
        await page.evaluate("for (const each of document.querySelectorAll('details')) { each.open = true }")
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)):
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            await page.set_viewport_size({"width": width, "height": 900})
            assert await violations(page) == [], (scheme, width)
            overflow = await page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('#content'))")
            assert overflow <= 0, "nothing sticks out sideways"


async def test_nobody_but_administrators_gets_anything(browser: Browser, world: World) -> None:
    async with opened(browser, world, user="user-2", ready=False) as seen:
        await expect(seen.page.get_by_text("Not found")).to_be_visible()
    async with httpx.AsyncClient(base_url=world.cloud.url, trust_env=False) as client:
        for user, status in (("", 404), ("user-2", 404), ("admin", 200)):
            client.cookies.set("sandbox_user", user)
            assert (await client.get(f"{PROXY}/admin/settings")).status_code == status
            assert (await client.get(f"{PROXY}/js/live_transcription-settings.js")).status_code == status
        for path in ("/api/v1/languages", "/enabled", "/init", "/heartbeat", "/metrics", "/healthz", "/admin/../enabled"):
            assert (await client.get(PROXY + path)).status_code == 404
        # AppAPI's route opened by mistake: the app itself still asks who it is.
        world.cloud.app_api.admins.discard("admin")
        assert (await client.get(f"{PROXY}/admin/settings")).status_code == 404


async def test_another_sites_page_cannot_change_anything(browser: Browser, world: World) -> None:
    async with opened(browser, world) as seen:
        forged = await seen.page.evaluate(
            """async (url) => {
                const simple = await fetch(url, {method: 'POST', body: '{}', headers: {'Content-Type': 'text/plain'}})
                const form = await fetch(url, {method: 'POST', body: new URLSearchParams({engine: ''})})
                return [simple.status, form.status]
            }""",
            f"{PROXY}/admin/selftest",
        )
        assert forged == [403, 403]


async def test_the_page_comes_and_goes_with_the_app(browser: Browser, world: World) -> None:
    assert set(world.app.ui) >= {"top-menu", "initial-state", "script", "style"}
    entry = world.app.ui["top-menu"][("settings",)]
    assert entry["adminRequired"] == 1
    assert world.app.secret not in json.dumps([list(kind.values()) for kind in world.app.ui.values()])
    await world.cloud.app_api.disable(world.app)
    assert not any(elements for kind, elements in world.app.ui.items() if kind != "settings"), "Nextcloud hides the form itself"
    async with opened(browser, world, ready=False) as seen:
        await expect(seen.page.get_by_text("Not found")).to_be_visible()


async def test_what_is_short_is_said_and_who_waits_is_counted(browser: Browser, world: World) -> None:
    memory = "Memory is low: {used} of {limit} MB are in use ({source})."
    world.engine.conditions = (Condition.of("memory", memory, "Give it more.", used="470", limit="512", source="limit"),)
    world.engine.waiting, world.engine.memory = 3, MemoryStatus(450 << 20, 470 << 20, 512 << 20, "container")
    async with opened(browser, world) as seen:
        await expect(seen.page.locator("#lt-banner")).to_contain_text(
            "3 speakers are not being transcribed. Memory is low: 470 of 512"
        )
        await expect(seen.page.locator("#lt-status-state")).to_have_text("At its limit")
        await expect(seen.page.locator("#lt-tiles")).to_contain_text("0 (3 waiting)")
        await expect(seen.page.locator("#lt-tiles")).to_contain_text("470 of 512 MB")
        assert await violations(seen.page) == []


async def test_the_chip_the_banner_and_the_list_show_what_the_server_says(browser: Browser, world: World) -> None:
    engine = world.engine
    engine.outcomes, engine.problem = {}, "LT_HPB_URL is not set."
    engine.speech = SpeechStatus((EngineState("modal", "unknown"), EngineState("whisper", "unknown")), 0, 0.0, 0, 0.0)
    async with opened(browser, world) as seen:
        chip, banner = seen.page.locator("#lt-status-state"), seen.page.locator("#lt-banner")
        await expect(chip).to_have_text("Calls cannot be joined")
        engine.problem = None
        await configure(seen.page)
        await expect(chip).to_have_text("Not tested yet")
        await expect(banner).to_be_hidden()
        await expect(seen.page.locator("[data-dependency=hpb]")).to_contain_text("not tested yet")

        refused = "The high-performance backend refused the internal secret."
        engine.outcomes = {"hpb": Dependency("hpb", "failed", "signaling_refused", refused, "Set another one.", 1.7e9)}
        await seen.page.evaluate("LiveTranscription.status.refresh()")
        await expect(chip).to_have_text("Captions do not work")
        await expect(banner).to_contain_text(f"High-performance backend: {refused} Set another one.")
        await expect(seen.page.locator("[data-dependency=hpb]")).to_contain_text(refused)
        assert await violations(seen.page) == []

        engine.outcomes = {"hpb": Dependency("hpb", "ok", at=1.7e9)}
        unauthorised = EngineState("modal", "refused", "It refused the credentials.", "stt_refused", "Set the key.")
        engine.speech = SpeechStatus((unauthorised, EngineState("whisper", "up")), 0, 0.0, 0, 0.0)
        await seen.page.evaluate("LiveTranscription.status.refresh()")
        await expect(chip).to_have_text("Not everything works")
        await expect(banner).to_have_text("Modal: It refused the credentials. Set the key.")
        await expect(seen.page.locator("[data-dependency='engine:whisper']")).to_contain_text("works")

        engine.speech = SpeechStatus((), 0, 0.0, 0, 0.0)
        await seen.page.evaluate("LiveTranscription.status.refresh()")
        await expect(chip).to_have_text("Captions do not work")
        await expect(banner).to_have_text("No speech-to-text engine is configured or installed. Configure one in the settings.")

        engine.speech = SpeechStatus((EngineState("whisper", "up"),), 0, 0.0, 0, 0.0)
        await seen.page.evaluate("LiveTranscription.status.refresh()")
        await expect(chip).to_have_text("Ready")
        await expect(banner).to_be_hidden()


async def test_a_status_that_does_not_come_says_why_and_how_old_the_shown_one_is(browser: Browser, world: World) -> None:
    async with opened(browser, world) as seen:
        url, world.app.url = world.app.url, "http://127.0.0.1:9"
        await seen.page.evaluate("LiveTranscription.status.refresh()")
        await expect(seen.page.locator("#lt-status-state")).to_have_text("No status")
        await expect(seen.page.locator("#lt-banner")).to_contain_text("Is its container running?")
        await expect(seen.page.locator("#lt-banner")).to_contain_text("The status below is from")
        world.app.url = url
        await seen.page.evaluate("LiveTranscription.status.refresh()")
        await expect(seen.page.locator("#lt-banner")).not_to_contain_text("Is its container running?")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360], ids=["wide", "phone"])
async def test_it_looks_right_and_is_accessible(browser: Browser, world: World, dark: bool, width: int) -> None:
    for seconds in (0.4, 0.6, 0.7, 0.5, 0.7, 0.9, 1.2, 1.4):
        await asyncio.sleep(0.35)  # a sample of the monitor
        metrics.last_word_seconds.observe(seconds)
        metrics.first_word_seconds.observe(seconds / 2)
        metrics.words_committed.inc(5)
    world.engine.rooms = {"room1": {"nc1": None, "nc2": None}}
    problem = "Kyutai on Modal is still starting (status 503)."
    world.engine.errors = (RecordedError(1_750_000_000.0, "stt_unavailable", problem),)
    world.engine.speech = SpeechStatus((EngineState("modal", "up"), EngineState("whisper", "unknown")), 1, 600.0, 2, 0.5)
    name = f"{'phone' if width < 500 else 'wide'}-{'dark' if dark else 'light'}"
    async with opened(browser, world, width=width, height=900 if width > 500 else 812, dark=dark) as seen:
        page = seen.page
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await expect(page.locator(".lt-plot path")).to_have_count(2)
        await expect(page.locator("#lt-banner")).to_be_hidden()
        await page.get_by_role("button", name="Run the self-test").click()
        await expect(page.get_by_text("Failed at")).to_be_visible(timeout=15_000)
        await page.screenshot(path=SCREENSHOTS / f"settings-{name}.png")
        await page.get_by_text("Advanced").click()
        assert await violations(page) == []
        overflow = await page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('#content'))")
        assert overflow <= 0, "nothing sticks out sideways"
        await page.evaluate("document.querySelector('#content').scrollTo(0, document.querySelector('#lt-form').offsetTop - 20)")
        await page.screenshot(path=SCREENSHOTS / f"settings-{name}-form.png")
        await page.set_viewport_size({"width": width, "height": 4200})
        await page.screenshot(path=SCREENSHOTS / f"settings-{name}-whole.png")


@pytest.mark.parametrize(
    ("language", "heading", "selftest", "failed", "address", "save", "refused"),
    [
        (
            *("fr", "Transcription en direct", "Lancer l\u2019autotest", "Échec à l\u2019étape : Serveur hautes performances"),
            *("Adresse du serveur hautes performances", "Enregistrer", "Corrigez les champs signalés"),
        ),
        (
            *("de", "Live-Transkription", "Selbsttest ausführen", "Fehlgeschlagen bei: High-Performance-Backend"),
            *("Adresse des High-Performance-Backends", "Speichern", "Korrigieren Sie die markierten Felder"),
        ),
    ],
    ids=["French", "German"],
)
async def test_it_speaks_the_language_of_the_administrator(
    browser: Browser,
    world: World,
    language: str,
    heading: str,
    selftest: str,
    failed: str,
    address: str,
    save: str,
    refused: str,
) -> None:
    async with opened(browser, world, lang=language) as seen:
        page = seen.page
        await expect(page.get_by_role("heading", name=heading)).to_be_visible()
        await page.get_by_role("button", name=selftest).click()
        await expect(page.get_by_text(failed)).to_be_visible(timeout=15_000)
        await page.get_by_label(address).fill("ftp://x")
        await page.get_by_role("button", name=save).click()
        await expect(page.locator("#lt-save-state")).to_contain_text(refused)
        assert await violations(page) == []
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=SCREENSHOTS / f"settings-{language}.png")
        await page.set_viewport_size({"width": 1280, "height": 4200})
        await page.screenshot(path=SCREENSHOTS / f"settings-{language}-whole.png")

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The demo's page in a real Chromium: names above captions, the sound of the call, and accessibility."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from sandbox.caller import ReceivedCaption
from sandbox.demo.page import page as demo_page
from sandbox.demo.programme import programme
from sandbox.demo.view import DemoView, Participant, RoomView, Sound
from sandbox.nextcloud.serving import LoopbackServer
from tests.browser.conftest import SCREENSHOTS

pytestmark = pytest.mark.browser
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
RULES = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"
VOICES = """() => [...document.querySelectorAll('audio')].map((one) => ({
  muted: one.muted, paused: one.paused, at: one.currentTime, source: one.getAttribute('src') }))"""


@dataclass
class Shown:
    """`complaints`: what the browser's console said, uncaught errors included."""

    page: Page
    view: DemoView
    complaints: list[str]


def two_who_talk() -> DemoView:
    """Alice and Ben talk across each other, and Chloé in another call."""
    view, now = DemoView(), time.time()
    english = RoomView("demoen", "A call in English", "en", status="captions on")
    french = RoomView("demofr", "Un appel en français", "fr", status="captions on")
    for room, names in ((english, ("Alice", "Ben", "Dana")), (french, ("Chloé", "Émile"))):
        for name in names:
            room.participants[name] = Participant(name, name, "reads captions" if name in ("Dana", "Émile") else "talks")
        view.rooms.append(room)
    english.participants["Alice"].sound = Sound("en-conference", 20.0, now)
    english.participants["Ben"].sound = Sound("en-novel", 5.0, now)
    french.participants["Chloé"].sound = Sound("fr-conference", 2.0, now)
    for speaker, text in (("Alice", "All of our representatives are busy."), ("Ben", "He was not an ill disposed young man.")):
        english.participants[speaker].speaking = True
        english.caption(ReceivedCaption(now - 5, speaker, text, "en", True))
    french.caption(ReceivedCaption(now - 5, "Chloé", "Vous allez maintenant joindre la conférence.", "fr", True))
    english.figures = {"wer": 0.01, "first_word_p50_s": 1.0}
    return view


@asynccontextmanager
async def shown(browser: Browser, *, width: int = 1280, dark: bool = False) -> AsyncIterator[Shown]:
    view = two_who_talk()
    context = await browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    try:
        async with LoopbackServer(demo_page(view, programme().credits())) as server:
            page = await context.new_page()
            seen = Shown(page, view, [])
            page.on("console", lambda said: seen.complaints.append(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: seen.complaints.append(str(error)))
            await page.goto(server.url)
            await page.locator(".captions-name").first.wait_for(timeout=15_000)
            yield seen
            view.over = True
            view.changed()
    finally:
        await context.close()


@pytest.fixture
async def opened(browser: Browser) -> AsyncIterator[Shown]:
    async with shown(browser) as seen:
        yield seen


async def test_each_speakers_name_stands_above_their_words(opened: Shown) -> None:
    blocks = opened.page.get_by_role("region", name="A call in English").locator(".captions-block")
    await expect(blocks).to_have_count(2)
    await expect(blocks.nth(0)).to_have_text("Alice All of our representatives are busy.", use_inner_text=True)
    await expect(blocks.nth(1)).to_have_text("Ben He was not an ill disposed young man.", use_inner_text=True)
    name = await blocks.nth(1).locator(".captions-name").bounding_box()
    lines = await blocks.nth(1).locator(".captions-lines").bounding_box()
    assert name is not None
    assert lines is not None
    assert name["y"] + name["height"] <= lines["y"] + 1
    await opened.page.get_by_text("Transcript so far").first.click()
    lines_said = opened.page.get_by_role("region", name="A call in English").get_by_role("listitem").filter(has_text="Ben:")
    await expect(lines_said).to_have_text("Ben: He was not an ill disposed young man.")
    assert opened.complaints == []


async def test_the_call_is_muted_until_the_visitor_turns_its_sound_on(opened: Shown) -> None:
    page = opened.page
    english = page.get_by_role("region", name="A call in English").get_by_role("button", name="Turn sound on")
    await expect(english).to_have_attribute("aria-pressed", "false")
    voices = await page.evaluate(VOICES)
    assert len(voices) == 3
    assert all(voice["muted"] for voice in voices)

    await english.click()
    await expect(page.get_by_role("button", name="Turn sound off")).to_have_count(1)
    heard = [voice["source"] for voice in await page.evaluate(VOICES) if not voice["muted"]]
    assert sorted(heard) == ["recordings/en-conference.ogg", "recordings/en-novel.ogg"], (
        "both who talk, and nobody of the other call"
    )

    # Only one call at a time.
    await page.get_by_role("region", name="Un appel en français").get_by_role("button", name="Turn sound on").click()
    heard = [voice["source"] for voice in await page.evaluate(VOICES) if not voice["muted"]]
    assert heard == ["recordings/fr-conference.ogg"]
    await page.get_by_role("button", name="Turn sound off").click()
    assert all(voice["muted"] for voice in await page.evaluate(VOICES))
    assert opened.complaints == []


async def test_the_sound_is_where_the_call_is(opened: Shown) -> None:
    page = opened.page
    english = opened.view.rooms[0].participants
    await page.get_by_role("region", name="A call in English").get_by_role("button", name="Turn sound on").click()

    async def drift_s(name: str) -> float:
        sound = english[name].sound
        assert sound is not None
        voices: list[dict[str, Any]] = await page.evaluate(VOICES)
        at = next(voice["at"] for voice in voices if voice["source"] == f"recordings/{sound.recording}.ogg")
        return abs(float(at) - (sound.position_s + time.time() - sound.at))

    async def settle(name: str) -> None:
        for _ in range(100):
            if await drift_s(name) < 0.6:
                return
            await page.wait_for_timeout(100)
        raise AssertionError(f"{name}'s voice is {await drift_s(name):.2f} s off")

    await settle("Alice")
    await settle("Ben")
    # Ben jumps in his recording, as at the start of a new turn, and then stops.
    english["Ben"].sound = Sound("en-novel", 15.0, time.time())
    opened.view.changed()
    await settle("Ben")
    english["Ben"].sound = None
    opened.view.changed()
    for _ in range(100):
        playing = [voice["source"] for voice in await page.evaluate(VOICES) if not voice["paused"] and not voice["muted"]]
        if playing == ["recordings/en-conference.ogg"]:
            break
        await page.wait_for_timeout(100)
    assert playing == ["recordings/en-conference.ogg"]


async def test_credits_are_folded_away(opened: Shown) -> None:
    credits_ = opened.page.get_by_text("recorded by Allison Smith").first
    await expect(credits_).to_be_hidden()
    await opened.page.get_by_text("Voices and licences").click()
    await expect(credits_).to_be_visible()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (360, False), (360, True)])
async def test_everybody_can_use_the_page(browser: Browser, width: int, dark: bool) -> None:
    async with shown(browser, width=width, dark=dark) as seen:
        await seen.page.get_by_role("button", name="Turn sound on").first.click()
        for summary in await seen.page.locator("summary").all():
            await summary.click()
        await seen.page.evaluate(AXE)
        found: dict[str, Any] = await seen.page.evaluate(f"axe.run(document, {{runOnly: {RULES}}})")
        assert [f"{rule['id']}: {node['html'][:160]}" for rule in found["violations"] for node in rule["nodes"]] == []
        assert await seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no sideways scrolling"
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await seen.page.screenshot(path=SCREENSHOTS / f"demo-{width}-{'dark' if dark else 'light'}.png", full_page=True)
        assert seen.complaints == []

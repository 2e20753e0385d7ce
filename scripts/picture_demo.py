# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Take the README's picture of the demo, docs/images/demo.png: `picture_demo.py [--output FILE]`. Needs Chromium.

Runs the demo with the embedded engine. The picture is taken as soon as two people have captions in the English call and every
visible word of both calls is right, as compared with the texts of the recordings. If that does not happen within a run of the
recordings, no picture is written.
"""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import shutil
import sys

from playwright.async_api import Page, async_playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "lib")]

from sandbox.demo.programme import Programme, Turn  # noqa: E402  found only now
from sandbox.demo.run import DemoFailed, Options, run  # noqa: E402
from sandbox.ports import free_port  # noqa: E402
from sandbox.recording import load  # noqa: E402
from sandbox.word_error_rate import normalise  # noqa: E402

#: In each, the speakers talk at the same time. Chloé begins in the middle of her recording, with whole sentences.
PROGRAMME = Programme(
    (
        (Turn("Alice", load("en-conference"), 12.0, 30.2),),
        (Turn("Ben", load("en-novel"), 8.0, 25.2),),
        (Turn("Chloé", load("fr-conference"), 59.35, 70.2),),
    )
)
_LONGEST_S = 120.0
#: Fewest words that a call has to show.
_WORDS = 12
_SCREENS = """() => [...document.querySelectorAll('.call')].map((call) => ({
  language: call.querySelector('.captions-text')?.closest('[lang]')?.lang ?? '',
  blocks: [...call.querySelectorAll('.captions-block')].map((block) => ({
    name: block.querySelector('.captions-name').textContent, text: block.querySelector('.captions-lines').textContent })) }))"""


def right(name: str, text: str) -> bool:
    """Whether the words occur in this order, without a gap, in what the speaker says."""
    turn = next(turn for turn in PROGRAMME.turns if turn.speaker == name)
    said, shown = (" ".join(normalise(words, turn.language)) for words in (turn.recording.text, text))
    return f" {shown} " in f" {said} "


async def worth_a_picture(page: Page) -> bool:
    screens = await page.evaluate(_SCREENS)
    if len(screens) < len(PROGRAMME.languages):
        return False
    for screen in screens:
        if sum(len(block["text"].split()) for block in screen["blocks"]) < _WORDS:
            return False
        if not all(right(block["name"], block["text"]) for block in screen["blocks"]):
            return False
    return len({block["name"] for block in screens[0]["blocks"]}) == 2


async def take(output: pathlib.Path, program: str) -> bool:
    """Whether the picture was taken."""
    port = free_port()
    options = Options(
        once=False, talk="sandbox", port=port, recordings=(), build=ROOT / "build" / "picture", programme=PROGRAMME
    )
    async with async_playwright() as playwright, asyncio.TaskGroup() as group:
        demo = group.create_task(run(options))
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme="light")
        await asyncio.sleep(3)  # the page's server starts first
        await page.goto(f"http://127.0.0.1:{port}")
        found = False
        try:
            async with asyncio.timeout(_LONGEST_S):
                while not (found := await worth_a_picture(page)):  # noqa: ASYNC110  the page sends no event
                    await asyncio.sleep(0.1)
            await page.screenshot(path=output)
        except TimeoutError:
            pass
        await browser.close()
        demo.cancel()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "docs" / "images" / "demo.png")
    options = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        print("picture: there is no Chromium. Try: scripts/install_browser.sh", file=sys.stderr)
        return 2
    try:
        found = asyncio.run(take(options.output, program))
    except ExceptionGroup as group:
        if group.subgroup(DemoFailed) is None:
            raise
        print(f"picture: the demo ended: {group.exceptions[0]}", file=sys.stderr)
        return 2
    if not found:
        print("picture: the captions were never right in both calls at once. Try again on an idle machine.", file=sys.stderr)
        return 1
    print(f"{options.output}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())

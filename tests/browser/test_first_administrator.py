# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The README's "Try the settings page without a Nextcloud", word for word: its commands as processes, its page in Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from ex_app.selftest.recording import TEXT
from sandbox.demo.processes import bare_environment
from tests.browser.conftest import ROOT, SCREENSHOTS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.model,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
    pytest.mark.skipif(not (ROOT / ".venv" / "runtime-installed").exists(), reason="there is no .venv made by make"),
]

_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "build", "dist", ".*_cache", "__pycache__", ".hypothesis")


class Terminal:
    """One command in a shell; `text` is what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.text = ""

    async def read(self) -> None:
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(4096):
            self.text += chunk.decode(errors="replace")

    async def shows(self, words: str, timeout_s: float = 90.0) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while words not in self.text:
                    assert self.process.returncode is None or words in self.text, self.text
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{words!r} was never printed:\n{self.text}")

    def interrupt(self) -> None:
        """Ctrl-C goes to all that runs in the terminal."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)


@asynccontextmanager
async def terminal(clone: Path, command: str) -> AsyncIterator[Terminal]:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command,
        cwd=clone, env=bare_environment(), start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    shown = Terminal(process)
    reading = asyncio.create_task(shown.read())
    try:
        yield shown
    finally:
        shown.interrupt()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await reading


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the project with the installed packages, so that the registration of this checkout stays."""
    # `make` in the copy would clear an outdated environment, which this checkout shares. With PYTHON, it would always have
    # something to do: check that this Python made the environment.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    question = ["make", "--question", ".venv/runtime-installed"]
    current = subprocess.run(question, cwd=ROOT, env=environment, check=False)
    assert current.returncode == 0, "the environment is outdated: run `make test`"
    place = tmp_path / "clone"
    shutil.copytree(ROOT, place, ignore=_LEFT_OUT)
    (place / ".venv").symlink_to((ROOT / ".venv").resolve())
    return place


def printed(text: str, label: str) -> str:
    found = re.search(rf"{label}\s+(\S+)", text)
    assert found is not None, text
    return found[1]


async def test_a_first_administrator_follows_what_is_printed_to_a_green_selftest(browser: Browser, clone: Path) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as terminals:
        sandbox = await terminals.enter_async_context(terminal(clone, "make sandbox PORT=0"))
        await sandbox.shows("Ctrl-C stops it")
        register = next(line for line in sandbox.text.splitlines() if "make register" in line).strip()
        run = next(line for line in sandbox.text.splitlines() if "make run" in line).strip()
        address = printed(sandbox.text, "runs at")
        registering = await terminals.enter_async_context(terminal(clone, register))
        await registering.shows("successfully registered.\nWaiting for the heartbeat")
        assert f"{clone}/build/manual/app.env" in registering.text
        await terminals.enter_async_context(terminal(clone, run))
        await registering.shows("ExApp live_transcription successfully registered.")

        page = await browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB")
        await page.goto(address)
        await page.get_by_label("Account name").fill("admin")
        await page.get_by_label("Password").fill("admin")
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("link", name="Live transcription").click()
        await page.get_by_role("button", name="Run the self-test").wait_for(timeout=15_000)
        hpb = page.get_by_label("Address of the high-performance backend")
        await hpb.fill(printed(sandbox.text, "Address of the high-performance backend"))
        await page.get_by_label("Internal secret", exact=True).fill(printed(sandbox.text, "Internal secret"))
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#lt-save-state")).to_have_text("Saved.", timeout=15_000)
        await page.get_by_role("button", name="Run the self-test").click()
        result = page.locator("[data-result=selftest]")
        await expect(result.get_by_text("All checks passed.")).to_be_visible(timeout=60_000)
        heard = re.compile("unable to locate the person", re.IGNORECASE)
        await expect(result.get_by_text(heard)).to_be_visible()
        assert heard.search(TEXT)
        await page.screenshot(path=SCREENSHOTS / "first-administrator-selftest.png")
        await result.get_by_text(heard).scroll_into_view_if_needed()
        await page.screenshot(path=SCREENSHOTS / "first-administrator-heard.png")

        sandbox.interrupt()
        async with asyncio.timeout(15):
            await sandbox.process.wait()
        assert not (clone / "build" / "sandbox" / "occ.json").exists()

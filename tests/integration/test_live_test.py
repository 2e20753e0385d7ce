# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`make live-test` as a process that has only Nextcloud's address: it passes if all works, and explains failures otherwise."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
from fastapi import FastAPI

from sandbox import loopback_ice
from sandbox.demo.processes import bare_environment
from sandbox.live_test import checks
from sandbox.live_test.options import BadOptions, read_options
from sandbox.nextcloud.serving import LoopbackServer
from tests.integration.conftest import TalkOnLoopback

ROOT = Path(__file__).resolve().parents[2]
USER, PASSWORD = "reader-1", "an-app-password"


async def live_test(
    module: str, environment: Mapping[str, str], *arguments: str, timeout_s: float = 60.0, interrupt_at: str = ""
) -> tuple[int, str]:
    """Exit code and all that was printed. `interrupt_at`: Ctrl-C once this has been printed."""
    everything = {**bare_environment(), **environment, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "lib")))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        cwd=ROOT, env=loopback_ice.child_environment(everything),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout_s):
            assert process.stdout is not None
            output = b""
            while interrupt_at and interrupt_at not in output.decode(errors="replace"):
                line = await process.stdout.readline()
                assert line, output
                output += line
            if interrupt_at:
                process.send_signal(signal.SIGINT)
            output += (await process.communicate())[0]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.model  # the app checks its model when it is set up, whatever engine serves
@pytest.mark.timeout(300)
@pytest.mark.skipif(find_spec("faster_whisper") is None, reason="faster-whisper is not installed")
async def test_the_dry_run_passes_every_check_before_the_sandbox() -> None:
    """As a user and a guest, and as two guests; side by side, since most of the time is spent listening."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_dry_run(guests=False))
        tasks.create_task(_dry_run(guests=True))


async def _dry_run(*, guests: bool) -> None:
    # A stand-in for the engine: how fast this machine is must decide nothing here.
    options = ("--quick", "--stt", "moshi", *(("--guests",) if guests else ()))
    code, text = await live_test("sandbox.live_test.rehearsal", {}, *options, timeout_s=280)
    assert code == 0, text
    table = text[text.index("what was seen") :]
    for title in checks.TITLES:
        row = next(line for line in table.splitlines() if line.startswith(title))
        if guests and title == checks.LANGUAGE:
            assert "skipped" in row
            assert "only moderators may" in row
        else:
            assert "passed" in row or (title == checks.TIMELY and "slow" in row), row
    assert {"unable", "locate", "calling."} <= set(text.split()), "the captions are shown"
    assert ("guests have to press CC again" in text) == guests
    assert USER not in text, "nobody's name is shown"


class TestWhatIsMissingIsSaidPlainly:
    """The Nextcloud of the fixture has no app, which is the first thing to be said."""

    @pytest.fixture
    def environment(self, talk: TalkOnLoopback) -> dict[str, str]:
        return {"NEXTCLOUD_URL": talk.nextcloud.url, "TALK_ROOM_TOKEN": talk.room}

    async def failed(self, environment: Mapping[str, str], title: str, *said: str) -> str:
        code, text = await live_test("sandbox.live_test", environment, "--quick")
        assert code == 1, text
        table = text[text.index("what was seen") :]
        row = next(line for line in table.splitlines() if line.startswith(title))
        assert "FAILED" in row, text
        shown = " ".join(table.split())
        for words in said:
            assert words in shown, text
        assert "->" in table, "it says what to do"
        assert environment["TALK_ROOM_TOKEN"] not in text
        assert "Traceback" not in text
        return text

    def enable_an_app(self, talk: TalkOnLoopback) -> None:
        """One that nobody answers for."""
        app = talk.nextcloud.app_api.register(url="http://127.0.0.1:9")
        app.enabled = True

    async def test_no_app(self, environment: dict[str, str]) -> None:
        text = await self.failed(environment, checks.OFFERED, "Talk offers no captions", "occ app_api:app:list")
        assert "not reached" in text

    async def test_no_hpb(self, talk: TalkOnLoopback, environment: dict[str, str]) -> None:
        self.enable_an_app(talk)
        talk.nextcloud.hpb_url = None
        await self.failed(environment, checks.OFFERED, "no high-performance backend")

    async def test_an_hpb_that_is_away(self, talk: TalkOnLoopback, environment: dict[str, str]) -> None:
        self.enable_an_app(talk)
        talk.nextcloud.hpb_url = "http://127.0.0.1:9"
        await self.failed(environment, checks.CALL, "cannot be reached", "ConnectionRefusedError")

    async def test_a_conversation_that_is_closed_to_guests(self, talk: TalkOnLoopback, environment: dict[str, str]) -> None:
        self.enable_an_app(talk)
        talk.nextcloud.talk.rooms[talk.room].public = False
        await self.failed(environment, checks.ROOM, "guests may not join", "NEXTCLOUD_USER")

    async def test_a_call_that_a_guest_may_not_start(self, talk: TalkOnLoopback, environment: dict[str, str]) -> None:
        self.enable_an_app(talk)
        talk.nextcloud.talk.rooms[talk.room].guests_may_start = False
        await self.failed(environment, checks.CALL, "may not start one", "Start the call in a browser first")

    async def test_an_app_that_does_not_answer(self, talk: TalkOnLoopback, environment: dict[str, str]) -> None:
        self.enable_an_app(talk)
        await self.failed(environment, checks.ON, "the app did not take it", "self-test")
        room = talk.nextcloud.talk.rooms[talk.room]
        assert room.sessions == {}, "everybody has left the conversation again"

    async def test_a_wrong_password(self, talk: TalkOnLoopback, environment: dict[str, str]) -> None:
        talk.nextcloud.accounts.passwords[USER] = PASSWORD
        wrong = {"NEXTCLOUD_USER": USER, "NEXTCLOUD_APP_PASSWORD": "not-the-password"}
        text = await self.failed({**environment, **wrong}, checks.NEXTCLOUD, "refuses the user or the app password")
        assert "not-the-password" not in text
        assert USER not in text

    async def test_a_nextcloud_that_is_away(self, environment: dict[str, str]) -> None:
        nowhere = {**environment, "NEXTCLOUD_URL": "http://127.0.0.1:9"}
        await self.failed(nowhere, checks.NEXTCLOUD, "Nextcloud cannot be reached", "Check NEXTCLOUD_URL")


async def test_ctrl_c_leaves_the_call_and_puts_the_captions_off(talk: TalkOnLoopback) -> None:
    asked: list[bool] = []
    silent = FastAPI()

    @silent.get("/api/v1/languages")
    async def languages() -> dict[str, object]:
        return {"en": {"name": "English", "metadata": {"separator": " ", "rtl": False}}}

    @silent.post("/api/v1/call/transcribe")
    async def transcribe(body: dict[str, object]) -> dict[str, object]:
        asked.append(body["enable"] is True)
        return {}

    async with LoopbackServer(silent) as server:
        app = talk.nextcloud.app_api.register(url=server.url)
        app.enabled = True
        environment = {"NEXTCLOUD_URL": talk.nextcloud.url, "TALK_ROOM_TOKEN": talk.room}
        code, text = await live_test("sandbox.live_test", environment, interrupt_at=checks.FIRST)
    assert code == 130, text
    assert asked == [True, False]
    assert talk.nextcloud.talk.rooms[talk.room].sessions == {}
    assert "Traceback" not in text


async def test_an_incomplete_environment_is_named_at_once() -> None:
    code, text = await live_test("sandbox.live_test", {"NEXTCLOUD_URL": "https://cloud.example.com"})
    assert code == 2
    assert text.startswith("TALK_ROOM_TOKEN is not set.")


def test_whole_links_are_understood_and_halves_refused() -> None:
    good = {"NEXTCLOUD_URL": "https://cloud.example.com/", "TALK_ROOM_TOKEN": "https://cloud.example.com/call/abcd1234"}
    options = read_options(good)
    assert (options.nextcloud_url, options.token) == ("https://cloud.example.com", "abcd1234")
    for name, value in (
        ("NEXTCLOUD_URL", "cloud.example.com"),
        ("NEXTCLOUD_URL", "https://cloud.example.com/call/abcd1234"),
        ("TALK_ROOM_TOKEN", "ab/../cd?x"),
        ("NEXTCLOUD_USER", "somebody"),
    ):
        with pytest.raises(BadOptions, match=name):
            read_options({**good, name: value})

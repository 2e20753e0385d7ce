# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The demo's page is served completely from this machine and receives every change."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from sandbox.caller import ReceivedCaption
from sandbox.demo.page import page
from sandbox.demo.view import DemoView, Participant, RoomView
from sandbox.nextcloud.serving import LoopbackServer


@pytest.fixture
def view() -> DemoView:
    view = DemoView()
    room = RoomView("abc", "A call", "en")
    room.participants["speaker-1"] = Participant("speaker-1", "Speaker 1", "talks")
    view.rooms.append(room)
    return view


@pytest.fixture
async def browser(view: DemoView) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        LoopbackServer(page(view, ["Somewhere: <somebody> (CC0-1.0)"])) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=5.0) as client,
    ):
        yield client
        view.over = True
        view.changed()


async def test_the_page_needs_nothing_from_elsewhere(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "&lt;somebody&gt;" in answer.text
    assert "<script>" not in answer.text
    assert 'aria-live="polite"' in answer.text
    addresses = re.findall(r'(?:href|src)="([^"]+)"', answer.text)
    assert addresses
    for address in addresses:
        assert address.startswith(("static/", "data:"))
        if address.startswith("static/"):
            assert (await browser.get("/" + address)).status_code == 200


async def test_the_page_is_told_of_captions_as_they_come(view: DemoView, browser: httpx.AsyncClient) -> None:
    async with browser.stream("GET", "/events") as stream:
        lines = (line async for line in stream.aiter_lines() if line)
        first = json.loads((await anext(lines)).removeprefix("data: "))
        assert first["rooms"][0]["screens"] == {"append": [], "replace": []}
        view.rooms[0].caption(ReceivedCaption(time.time(), "speaker-1", "the meeting", "en", True))
        view.changed()
        second = json.loads((await anext(lines)).removeprefix("data: "))
        assert second["rooms"][0]["screens"]["append"] == [{"name": "Speaker 1", "lines": ["The meeting"]}]
        view.over = True
        view.changed()
        assert json.loads((await anext(lines)).removeprefix("data: "))["over"] is True
        with pytest.raises(StopAsyncIteration):
            await anext(lines)
    assert (await browser.get("/state")).json()["rooms"][0]["transcript"] == []


async def test_the_sound_can_be_fetched_in_parts(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/recordings/en-short.ogg", headers={"Range": "bytes=0-3"})
    assert answer.status_code == 206
    assert answer.content == b"OggS"
    assert "media-src 'self'" in (await browser.get("/")).headers["content-security-policy"]

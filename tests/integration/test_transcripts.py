# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A transcript from the bot's question to the files: the whole app behind the stand-in's AppAPI, with a call on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from ex_app.application import create_app
from ex_app.identity import AppIdentity
from ex_app.nextcloud.bot import ROUTE
from ex_app.nextcloud.files import UserFiles
from ex_app.nextcloud.gateway import AppApiGateway
from ex_app.transcripts import Transcripts
from live_transcription.service import TranscriptionService
from live_transcription.transcripts.storage import JournalFolder
from live_transcription.types import Secret
from sandbox.caller import Caller, Speech
from sandbox.nextcloud.app_api import ConfigValue
from sandbox.nextcloud.serving import LoopbackServer
from tests.ex_app.fakes import SECRET, credentials
from tests.integration.conftest import TalkOnLoopback, no_ice_servers


class App:
    """The running app, `journals` its folder of transcripts."""

    def __init__(self, talk: TalkOnLoopback, journals: Path) -> None:
        self.cloud, self.journals, self.token = talk.nextcloud, journals, talk.room
        self.talk = talk
        self.url = ""

    def said(self) -> list[str]:
        return self.cloud.bots.spoken(self.token)

    async def until(self, done: Callable[[], object], timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not done():  # noqa: ASYNC110  the stand-in tells no one
                await asyncio.sleep(0.02)

    def write(self, caller: Caller, text: str) -> None:
        session = self.cloud.talk.rooms.session(caller.nextcloud_session_id)
        self.cloud.bots.say(session, text)

    def files(self) -> dict[str, bytes]:
        return {path: each.content for path, each in self.cloud.files.home("admin").files.items()}


@pytest.fixture
async def app(talk: TalkOnLoopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
    monkeypatch.setattr("ex_app.transcripts.LAST_WORDS_S", 5.0)
    monkeypatch.setattr("ex_app.transcripts.LOOK_S", 0.2)
    cloud, found = talk.nextcloud, App(talk, tmp_path / "transcripts")
    identity = AppIdentity(Secret(SECRET), version="10.0.0", app_api_version="32.0.0", nextcloud_url=cloud.url)
    gateway = AppApiGateway(identity)
    transcripts = Transcripts(JournalFolder(found.journals, SECRET.encode()), UserFiles(identity, gateway.is_enabled))
    engine = TranscriptionService(
        talk.config(), no_ice_servers, transcripts=transcripts, registry=talk.registry, wall_clock=time.time
    )
    environment = {
        "APP_ID": "live_transcription", "APP_VERSION": "10.0.0", "APP_SECRET": SECRET, "AA_VERSION": "32.0.0",
        "NEXTCLOUD_URL": cloud.url, "LT_HPB_URL": talk.hpb.url, "LT_INTERNAL_SECRET": talk.internal_secret,
    }  # fmt: skip
    application = create_app(environment, engine, gateway, transcripts=transcripts)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(application.router.lifespan_context(application))
        server = await stack.enter_async_context(LoopbackServer(application))
        registered = cloud.app_api.register(url=server.url, secret=SECRET)
        found.url = server.url
        registered.installing = False
        assert await cloud.app_api.enable(registered)
        yield found
        await cloud.bots.settled()
        # Callers leave before the engine does.
        await talk._stack.aclose()


async def allow(app: App) -> None:
    """The administrator allows transcripts, and a moderator enables the bot."""
    registered = app.cloud.app_api.apps["live_transcription"]
    registered.config["lt_transcripts"] = ConfigValue("true")
    await app.cloud.app_api.request("live_transcription", "PUT", "/enabled?enabled=1")
    await app.until(lambda: app.cloud.bots.servers)
    [number] = app.cloud.bots.servers
    app.cloud.bots.enable(app.token, number)
    await app.until(lambda: len(app.said()) == 1)


async def test_a_call_with_consent_ends_as_files_in_its_conversation(app: App, short_speech: Speech) -> None:
    await allow(app)
    admin = await app.talk.caller("admin", short_speech)
    await app.until(lambda: len(app.said()) == 2)
    assert app.talk.internal_sessions() == 0, "nobody has agreed yet"
    app.write(admin, "!transcript here")
    await app.until(lambda: "is being kept, for admin" in app.said()[-1])
    await app.until(lambda: app.talk.internal_sessions() == 1)
    await admin.say(short_speech)
    await admin.leave_call()
    await app.until(lambda: len(app.files()) == 3)
    await app.until(lambda: any(each.system == "file_shared" for each in app.cloud.bots.chats[app.token]))
    await app.until(lambda: not list(app.journals.glob("*")))
    [markdown] = [content.decode() for path, content in app.files().items() if path.endswith(".md")]
    assert "admin" in markdown


async def test_without_an_answer_the_app_never_joins(app: App, short_speech: Speech) -> None:
    await allow(app)
    admin = await app.talk.caller("admin", short_speech)
    guest = await app.talk.caller("somebody")
    await app.until(lambda: len(app.said()) == 2)
    app.write(guest, "!transcript here")
    app.write(admin, "good morning")
    await app.until(lambda: len(app.said()) == 3)
    await admin.leave_call()
    await guest.leave_call()
    await app.cloud.bots.settled()
    assert app.files() == {}
    assert app.talk.internal_sessions() == 0


async def test_nothing_is_reachable_unless_the_administrator_allows_it(app: App) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(app.url + ROUTE, json={"type": "Join"}, headers=credentials(""))
        assert answer.status_code == 404
        assert app.cloud.bots.servers == {}
        await allow(app)
        assert (await client.post(app.url + ROUTE, json={"type": "Join"}, headers=credentials(""))).status_code == 200
        forged = await client.post(app.url + ROUTE, json={"type": "Join"}, headers=credentials("", secret="wrong"))
        assert forged.status_code == 401
    registered = app.cloud.app_api.apps["live_transcription"]
    await app.cloud.app_api.disable(registered)
    await app.cloud.app_api.enable(registered)
    [number] = app.cloud.bots.servers
    assert [each.number for each in app.cloud.bots.enabled(app.token)] == [number], "an update forgets no conversation"

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The bot for transcripts: its messages, and that nothing begins without them. With a Talk in memory, and with the stand-in."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from ex_app.errors import BotRefused, NextcloudError
from ex_app.identity import AppIdentity
from ex_app.nextcloud.bot import ROUTE, BotMessages
from ex_app.nextcloud.gateway import AppApiGateway
from ex_app.routes.bot import MAX_DROPPED, bot_routes
from ex_app.transcript_bot import MAX_WAITING, RESEND_S, TranscriptBot
from live_transcription.texts import Text
from live_transcription.transcripts.consent import BotDisabled, CallEnded, CallStarted, Command, Person
from live_transcription.types import Secret
from sandbox.nextcloud import Nextcloud
from sandbox.nextcloud.serving import LoopbackServer
from tests.ex_app.fakes import SECRET, FakeNextcloud
from tests.ex_app.nextcloud.test_bot_events import activity, create

ADA, GUEST = Person("users", "ada", "Ada", 1), Person("guests", "abc", "Guest", 4)


class FakeTalk:
    """Notes messages. `failures`: raised by the next messages. `gate`: messages wait for it."""

    def __init__(self) -> None:
        self.secret = Secret("")
        self.said: list[tuple[str, str, bool]] = []
        self.failures: list[NextcloudError] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, room: str, text: str, *, silent: bool = False) -> None:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.said.append((room, text, silent))


class FakeKeeper:
    def __init__(self) -> None:
        self.kept: dict[str, Person] = {}
        self.begun = 0

    def begin(self, room: str, owner: Person, title: str) -> None:
        assert room not in self.kept
        self.kept[room] = owner
        self.begun += 1

    def end(self, room: str, *, last_words: bool) -> None:
        self.kept.pop(room, None)


class Bench:
    def __init__(self) -> None:
        self.talk, self.keeper, self.nextcloud = FakeTalk(), FakeKeeper(), FakeNextcloud()
        self.languages: dict[str, str] = {}
        self.now, self.slept, self.secrets = 0.0, list[float](), list[Secret]()
        self.bot = TranscriptBot(
            self.nextcloud.put_bot,
            self.talk,
            self.keeper,
            lambda room: self.languages.get(room, "en"),
            confidential=self.secrets.append,
            now=lambda: self.now,
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async def ready() -> None: ...

        task = asyncio.create_task(self.bot.run(ready))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def settle(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.bot.apply(allowed=True)
    return bench


async def test_a_transcript_begins_when_the_chat_says_so(bench: Bench) -> None:
    async with bench.running():
        bench.bot.handle(CallStarted("room", 1))
        await bench.settle()
        bench.talk.gate.clear()
        bench.bot.handle(Command("room", 2, "here", ADA))
        await bench.settle()
        assert bench.keeper.kept == {}
        bench.talk.gate.set()
        await bench.settle()
        assert bench.keeper.kept == {"room": ADA}
        bench.bot.handle(Command("room", 3, "stop", ADA))
        assert bench.keeper.kept == {}, "at once, before any message"
        await bench.settle()
    assert [silent for _, _, silent in bench.talk.said] == [True, False, True]


async def test_a_transcript_that_cannot_be_announced_does_not_begin(bench: Bench) -> None:
    async with bench.running():
        bench.bot.handle(CallStarted("room", 1))
        await bench.settle()
        bench.talk.failures = [NextcloudError("Away.") for _ in range(3)]
        bench.bot.handle(Command("room", 2, "here", ADA))
        await bench.settle()
        assert bench.keeper.begun == 0
        assert [delay for delay in bench.slept if delay in RESEND_S] == list(RESEND_S)
        bench.talk.failures = [NextcloudError("Away.")]
        bench.bot.handle(Command("room", 3, "here", ADA))
        await bench.settle()
        assert bench.keeper.kept == {"room": ADA}, "the second attempt reached the chat"


async def test_a_refused_bot_ends_the_transcript_and_registers_again(bench: Bench) -> None:
    async with bench.running():
        bench.bot.handle(CallStarted("room", 1))
        bench.bot.handle(Command("room", 2, "here", ADA))
        await bench.settle()
        bench.talk.failures = [BotRefused("The bot is not enabled in this conversation.")]
        bench.bot.handle(Command("room", 3, "", ADA))
        await bench.settle()
        assert bench.keeper.kept == {}
        assert len(bench.nextcloud.bots) == 2


async def test_an_announcement_that_is_late_is_dropped(bench: Bench) -> None:
    bench.bot.handle(CallStarted("room", 1))
    bench.bot.handle(Command("room", 2, "here", ADA))
    bench.now = 61.0
    async with bench.running():
        await bench.settle()
    assert bench.talk.said == []
    assert bench.keeper.begun == 0


async def test_nothing_begins_when_too_many_messages_wait(bench: Bench) -> None:
    for number in range(MAX_WAITING + 10):
        bench.bot.handle(CallStarted(f"r{number}", 1))
    bench.bot.handle(Command("r1", 2, "here", ADA))
    async with bench.running():
        for _ in range(MAX_WAITING):
            await asyncio.sleep(0)
        await bench.settle()
    assert len(bench.talk.said) == MAX_WAITING
    assert bench.keeper.begun == 0


async def test_the_bot_is_registered_when_it_is_allowed_and_when_the_app_is_enabled() -> None:
    bench = Bench()
    async with bench.running():
        bench.bot.app_enabled()
        bench.bot.handle(CallStarted("room", 1))
        await bench.settle()
        assert (bench.nextcloud.bots, bench.talk.said, len(bench.bot.book)) == ([], [], 0)
        bench.nextcloud.failures = 2
        bench.bot.apply(allowed=True)
        await bench.settle()
        assert len(bench.nextcloud.bots) == 1
        assert bench.slept[:2] == [1.0, 4.0]
        assert bench.secrets == [bench.talk.secret]
        bench.bot.apply(allowed=True)
        await bench.settle()
        assert len(bench.nextcloud.bots) == 1
        bench.bot.app_enabled()
        await bench.settle()
        assert len(bench.nextcloud.bots) == 2


@pytest.mark.parametrize("by_administrator", [True, False])
async def test_switching_off_ends_transcripts_and_says_so(bench: Bench, *, by_administrator: bool) -> None:
    async with bench.running():
        bench.bot.handle(CallStarted("room", 1))
        bench.bot.handle(Command("room", 2, "here", ADA))
        await bench.settle()
        if by_administrator:
            bench.bot.apply(allowed=False)
        else:
            bench.bot.app_disabled()
        assert bench.keeper.kept == {}
        await bench.settle()
    assert ("administrator" if by_administrator else "disabled") in bench.talk.said[-1][1]


@pytest.mark.parametrize(
    ("language", "words"),
    [("de", "Moderator"), ("fr", "modérateur"), ("ja", "moderator"), ("auto", "moderator"), ("", "moderator")],
)
async def test_the_bot_speaks_the_rooms_language(bench: Bench, language: str, words: str) -> None:
    bench.languages["room"] = language
    async with bench.running():
        bench.bot.handle(CallStarted("room", 1))
        await bench.settle()
    assert words in bench.talk.said[0][1]
    assert "!transcript here" in bench.talk.said[0][1]


def app_of(bot: TranscriptBot) -> FastAPI:
    app = FastAPI()
    app.include_router(bot_routes(bot))
    return app


@asynccontextmanager
async def client_of(bot: TranscriptBot) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(bot)), base_url="http://app") as client:
        yield client


async def test_the_route_is_not_there_unless_transcripts_are_allowed(bench: Bench) -> None:
    bench.bot.apply(allowed=False)
    async with client_of(bench.bot) as client:
        assert (await client.post(ROUTE, json=activity("call_started"))).status_code == 404
        bench.bot.apply(allowed=True)
        assert (await client.post(ROUTE, json=activity("call_started"))).status_code == 200
    assert len(bench.bot.book) == 1


async def test_bodies_that_are_too_long_or_too_slow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ex_app.routes.bot.ANSWER_S", 0.02)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536

    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"type":'
        await asyncio.Event().wait()

    async with client_of(bench.bot) as client:
        assert (await client.post(ROUTE, json=create("é" * 30_000))).status_code == 200
        assert (await client.post(ROUTE, content=endless())).status_code == 200
        assert (await client.post(ROUTE, content=stalled())).status_code == 200
    assert sent <= MAX_DROPPED + 3 * 65_536
    assert len(bench.bot.book) == 0


async def test_100_000_forged_malformed_or_repeated_events(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing begins, nothing grows, and no log line has a word of them."""
    from ex_app.routes.bot import _handle

    caplog.set_level(logging.DEBUG)
    chance = random.Random(7)
    marker = "confidential-words"

    def room() -> dict[str, str]:
        return {"type": "Collection", "id": f"r{chance.randrange(20_000)}", "name": marker}

    def number() -> str:
        return str(chance.randrange(1, 10**9))

    stranger = {"type": "Person", "id": f"guests/{marker}", "name": marker, "talkParticipantType": "4"}
    here = json.dumps({"message": "!transcript here", "parameters": []})
    makers: list[Callable[[], bytes]] = [
        lambda: json.dumps(create(f"{marker} and more", target=room())).encode(),
        lambda: json.dumps(create("!transcript here", actor=stranger, target=room())).encode(),
        lambda: json.dumps(activity("call_started") | {"target": room()}).encode(),
        lambda: json.dumps(create(object={"id": number(), "name": "call_started", "content": here}, target=room())).encode(),
        lambda: json.dumps(create(actor={"id": marker, "name": marker, "talkParticipantType": "6"}, target=room())).encode(),
        lambda: json.dumps({"type": "Leave", "object": room()}).encode(),
        lambda: json.dumps({"type": chance.choice(["Join", marker]), "object": {"id": marker + "/"}}).encode(),
        lambda: json.dumps(create(marker)).encode()[: chance.randrange(1, 300)],
        lambda: chance.randbytes(chance.randrange(200)),
    ]
    async with bench.running():
        for count in range(100_000):
            if count == 20_000:
                await bench.settle()
                tracemalloc.start()
                before, _ = tracemalloc.get_traced_memory()
            _handle(bench.bot, chance.choice(makers)())
            if count % 100 == 0:
                await bench.settle()
        await bench.settle()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert bench.keeper.begun == 0
    assert bench.bot.book.consents() == []
    bench.talk.said.clear()
    assert grown < 16_000_000, grown
    assert marker not in caplog.text


class App:
    """The route behind the stand-in's AppAPI, the bot, and the conversation `room1`."""

    def __init__(self, cloud: Nextcloud, bot: TranscriptBot, keeper: FakeKeeper) -> None:
        self.cloud, self.bot, self.keeper = cloud, bot, keeper

    async def settle(self, done: Callable[[], bool]) -> None:
        await self.cloud.bots.settled()
        async with asyncio.timeout(10):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with Nextcloud() as cloud:
        cloud.talk.rooms.create("room1", name="Team")
        identity = AppIdentity(Secret(SECRET), version="10.0.0", app_api_version="32.0.0", nextcloud_url=cloud.url)
        gateway, messages, keeper = AppApiGateway(identity), BotMessages(identity), FakeKeeper()
        bot = TranscriptBot(gateway.put_bot, messages, keeper, lambda _room: "en")
        bot.apply(allowed=True)
        server = LoopbackServer(app_of(bot))
        await server.start()
        cloud.app_api.register(url=server.url, secret=SECRET).enabled = True

        async def ready() -> None: ...

        running = asyncio.create_task(bot.run(ready))
        found = App(cloud, bot, keeper)
        await found.settle(lambda: bool(messages.secret))
        yield found
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.stop()
        await messages.aclose()
        await gateway.aclose()


async def test_from_the_first_question_to_the_end_with_talk(app: App) -> None:
    cloud = app.cloud
    [number] = cloud.bots.servers
    cloud.bots.enable("room1", number)
    ada, guest = cloud.talk.join_room("room1", "admin", "Ada @all"), cloud.talk.join_room("room1", None, "Guest")
    await app.settle(lambda: len(cloud.bots.spoken("room1")) == 1)
    await cloud.talk.join_call(guest.id)
    await app.settle(lambda: len(cloud.bots.spoken("room1")) == 2)
    cloud.bots.say(guest, "!transcript here")
    await app.settle(lambda: len(cloud.bots.spoken("room1")) == 3)
    assert app.keeper.begun == 0
    cloud.bots.say(ada, "!transcript here")
    await app.settle(lambda: bool(app.keeper.kept))
    assert app.keeper.kept["room1"].id == "admin"
    assert "for Ada all," in cloud.bots.spoken("room1")[-1]
    cloud.talk.rooms["room1"].guest_moderators.add(guest.actor)
    cloud.bots.say(guest, "!transcript stop")
    await app.settle(lambda: not app.keeper.kept)
    cloud.bots.say(ada, "!transcript here")
    await app.settle(lambda: bool(app.keeper.kept))
    await cloud.talk.leave_call(guest.id)
    await app.settle(lambda: not app.keeper.kept)
    assert app.keeper.begun == 2
    assert all(server.error_count == 0 for server in cloud.bots.servers.values())


async def test_an_update_of_the_app_keeps_the_bot_where_moderators_enabled_it(app: App) -> None:
    cloud = app.cloud
    [number] = cloud.bots.servers
    cloud.bots.enable("room1", number)
    app.bot.app_disabled()
    app.bot.apply(allowed=False)
    app.bot.apply(allowed=True)
    app.bot.app_enabled()
    await app.settle(lambda: len(cloud.bots.spoken("room1")) == 1)
    assert [server.number for server in cloud.bots.enabled("room1")] == [number]


async def test_a_message_that_talk_refuses_is_an_error(app: App) -> None:
    identity = AppIdentity(Secret(SECRET), nextcloud_url=app.cloud.url)
    messages = BotMessages(identity)
    with pytest.raises(NextcloudError, match="not registered"):
        await messages.send("room1", "hello")
    messages.secret = Secret("x" * 64)
    with pytest.raises(BotRefused, match="not enabled"):
        await messages.send("room1", "hello")
    [server] = app.cloud.bots.servers.values()
    messages.secret = Secret(server.secret)
    app.cloud.bots.enable("room1", server.number)
    await app.settle(lambda: len(app.cloud.bots.spoken("room1")) == 1)
    await messages.send("room1", "hello é 🎉", silent=True)
    assert app.cloud.bots.chats["room1"][-1].text == "hello é 🎉"
    with pytest.raises(NextcloudError, match="with 413"):
        await messages.send("room1", "x" * 32_001)
    await app.cloud.stop()
    with pytest.raises(NextcloudError, match="could not be reached") as failure:
        await messages.send("room1", "confidential")
    assert "confidential" not in repr(failure.value)
    assert failure.value.__context__ is None
    await messages.aclose()
    await app.cloud.start()


async def test_events_for_a_bot_that_was_disabled_change_nothing(bench: Bench) -> None:
    bench.bot.handle(BotDisabled("room"))
    bench.bot.handle(CallEnded("room", 1))
    assert bench.keeper.kept == {}
    assert isinstance(Text("x"), str)

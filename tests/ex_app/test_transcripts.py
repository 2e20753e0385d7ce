# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Delivery of transcripts to the stand-in's files: growing, finished, disturbed, and continued after a restart."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ex_app.identity import AppIdentity
from ex_app.nextcloud.files import Etag, Failure, UserFiles
from ex_app.transcript_bot import TranscriptBot
from ex_app.transcripts import LAST_WORDS_S, UPDATE_S, Transcripts
from live_transcription.transcripts.consent import CallEnded, CallStarted, Command, Person
from live_transcription.transcripts.kept import KeptTranscript
from live_transcription.transcripts.sink import Utterance
from live_transcription.transcripts.storage import KEPT_S, JournalFolder
from live_transcription.types import Secret
from sandbox.nextcloud import Fault, FaultKind, Nextcloud
from tests.ex_app.fakes import SECRET, FakeNextcloud
from tests.ex_app.test_transcript_bot import FakeTalk

ADA = Person("users", "ada", "Ada", 1)
#: 2026-11-28 13:00:00 UTC.
NOW = 1_795_870_800.0


class FakeTranscriber:
    def __init__(self) -> None:
        self.kept: set[str] = set()

    async def keep_transcribing(self, room_token: str, *, language: str | None = None) -> None:
        self.kept.add(room_token)

    async def stop_keeping(self, room_token: str) -> None:
        self.kept.discard(room_token)


class Bench:
    """The app's part, with a clock, in front of the stand-in. `number`: of the last chat message."""

    def __init__(self, cloud: Nextcloud, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        self.now, self.number, self.said = NOW, 0, 0
        self.engine = FakeTranscriber()
        self.start()

    def start(self) -> None:
        """As a new process."""

        async def is_enabled() -> bool:
            return True

        identity = AppIdentity(Secret(SECRET), version="10.0.0", nextcloud_url=self.cloud.url)
        self.transcripts = Transcripts(
            JournalFolder(self.folder, SECRET.encode()), UserFiles(identity, is_enabled), lambda: self.now
        )
        self.bot = TranscriptBot(
            FakeNextcloud().put_bot, FakeTalk(), self.transcripts, lambda _room: "en", now=lambda: self.now
        )
        self.bot.apply(allowed=True)
        self.transcripts.attach(self.bot, self.engine)

    def next(self) -> int:
        self.number += 1
        return self.number

    async def begin(self, title: str = "Team") -> None:
        self.bot.handle(CallStarted("room1", self.next()))
        self.bot.handle(Command("room1", self.next(), "here", ADA, title))
        [begin] = [each.begin for each in self.waiting() if each.begin is not None]
        assert self.bot.book.announced("room1", begin.consent)
        self.transcripts.begin("room1", begin.owner, begin.title)
        await self.transcripts.tell_engine()

    def waiting(self) -> list:  # type: ignore[type-arg]
        queue = self.bot._waiting
        return [queue.get_nowait() for _ in range(queue.qsize())]

    def texts(self) -> list[str]:
        return [each.text for each in self.waiting()]

    def say(self, text: str) -> None:
        self.said += 1
        self.now += 1.0
        self.transcripts.on_utterance("room1", Utterance(self.said, "s", text, "en", True, self.now - 1, self.now), "Bob")

    async def later(self, seconds: float = UPDATE_S) -> None:
        self.now += seconds
        await self.transcripts.deliver_due()

    async def end(self) -> None:
        self.bot.handle(CallEnded("room1", self.next()))
        await self.later(LAST_WORDS_S)
        await self.transcripts.tell_engine()

    def files(self) -> dict[str, bytes]:
        return {path: each.content for path, each in self.cloud.files.home("ada").files.items()}

    def journals(self) -> int:
        return len(list(self.folder.glob("*"))) if self.folder.exists() else 0


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Nextcloud() as cloud:
        cloud.app_api.register(secret=SECRET).enabled = True
        cloud.talk.rooms.create("room1", name="Team")
        cloud.talk.join_room("room1", "ada", "Ada")
        yield Bench(cloud, tmp_path / "transcripts")


async def test_the_files_grow_and_are_shared_once_at_the_end(bench: Bench) -> None:
    await bench.begin()
    assert bench.engine.kept == {"room1"}
    bench.say("Good morning.")
    await bench.later()
    assert sorted(bench.files()) == [f"Talk/2026-11-28 13-00 Team{ending}" for ending in (".json", ".md", ".vtt")]
    bench.say("Let us begin.")
    await bench.later(10.0)
    assert not any(b"Let us begin" in content for content in bench.files().values())
    await bench.later()
    assert all(b"Let us begin" in content for content in bench.files().values())
    assert "file_shared" not in [each.system for each in bench.cloud.bots.chats.get("room1", [])]
    bench.say("Good bye.")
    bench.bot.handle(CallEnded("room1", bench.next()))
    # Was said in the call, and is transcribed after its end.
    bench.transcripts.on_utterance("room1", Utterance(99, "s", "Bye!", "en", True, bench.now - 1, bench.now), "Ada")
    bench.transcripts.on_utterance("room1", Utterance(100, "s", "Later", "en", True, bench.now + 1, bench.now + 2), "Ada")
    await bench.later(LAST_WORDS_S)
    await bench.transcripts.tell_engine()
    assert bench.engine.kept == set()
    assert all(b"Bye!" in content and b"Later" not in content for content in bench.files().values())
    assert len(bench.files()) == 3
    shared = [each for each in bench.cloud.bots.chats["room1"] if each.system == "file_shared"]
    assert [(each.actor, each.text) for each in shared] == [("users/ada", "The transcript of this call")]
    assert bench.journals() == 0
    assert bench.transcripts.waiting == 0


async def test_stopping_ends_it_at_once(bench: Bench) -> None:
    await bench.begin()
    bench.say("Before.")
    bench.bot.handle(Command("room1", bench.next(), "stop", Person("guests", "x", "G", 6)))
    assert not bench.transcripts.keeps("room1")
    bench.say("After.")
    await bench.later(0.0)
    assert all(b"After" not in content for content in bench.files().values())
    assert len(bench.files()) == 3


async def test_a_changed_file_is_left_alone(bench: Bench) -> None:
    await bench.begin()
    bench.say("One.")
    await bench.later()
    path = "Talk/2026-11-28 13-00 Team.md"
    bench.cloud.files.write("ada", path, b"corrected")
    bench.say("Two.")
    await bench.later()
    await bench.end()
    files = bench.files()
    assert files[path] == b"corrected"
    assert b"Two" in files["Talk/2026-11-28 13-00 Team (2).md"]
    assert len(files) == 4


async def test_two_calls_in_the_same_minute_and_a_hostile_title(bench: Bench) -> None:
    for _ in range(2):
        await bench.begin("../A/B: 🎉" + "ü" * 250)
        bench.say("Hello.")
        await bench.end()
        bench.now = NOW
    files = bench.files()
    assert len(files) == 6
    assert all(path.startswith("Talk/2026") and path.count("/") == 1 and len(path.encode()) <= 255 for path in files)
    assert sum(" (2)" in path for path in files) == 3


async def test_nextcloud_is_away_for_ten_minutes(bench: Bench) -> None:
    await bench.begin()
    bench.say("One.")
    with bench.cloud.faults.during(Fault(FaultKind.UNAVAILABLE)):
        for _ in range(10):
            await bench.later()
        bench.say("Two.")
        await bench.end()
        assert bench.files() == {}
        assert bench.journals() == 1
    await bench.later()
    assert all(b"One" in content and b"Two" in content for content in bench.files().values())
    assert len(bench.files()) == 3
    assert bench.journals() == 0


async def test_a_full_quota_is_said_once_and_tried_for_a_day(bench: Bench) -> None:
    bench.cloud.files.home("ada").quota = 0
    await bench.begin()
    bench.say("One.")
    await bench.end()
    await bench.later()
    await bench.later()
    assert sum("no space left" in text for text in bench.texts()) == 1
    assert bench.transcripts.waiting == 1
    bench.cloud.files.home("ada").quota = None
    await bench.later()
    assert len(bench.files()) == 3
    assert bench.transcripts.waiting == 0


@pytest.mark.parametrize("problem", ["account", "room", "folder"])
async def test_the_owner_or_the_folder_is_gone(bench: Bench, problem: str) -> None:
    await bench.begin()
    bench.say("One.")
    await bench.later()
    home = bench.cloud.files.home("ada")
    if problem == "account":
        bench.cloud.app_api.deleted_users.add("ada")
    elif problem == "room":
        bench.cloud.talk.rooms["room1"].participants.clear()
    else:
        home.files = {path.replace("Talk/", "Old/"): each for path, each in home.files.items()}
        home.folders = {"", "Old"}
    bench.say("Two.")
    await bench.end()
    texts = bench.texts()
    if problem == "account":
        assert any("does not exist any more" in text for text in texts)
        assert bench.journals() == 1
        await bench.later(KEPT_S)
        assert bench.journals() == 0
    elif problem == "room":
        assert any("could not be shared here" in text for text in texts)
        assert bench.journals() == 0
    else:
        assert b"Two" in bench.files()["Talk/2026-11-28 13-00 Team (2).md"]
        assert b"Two" not in bench.files()["Old/2026-11-28 13-00 Team.md"]


async def test_a_restart_continues_the_same_files(bench: Bench) -> None:
    await bench.begin()
    bench.say("One.")
    await bench.later()
    bench.say("Two.")
    # Killed: nothing is closed.
    bench.engine = FakeTranscriber()
    bench.start()
    await bench.transcripts.restore()
    await bench.transcripts.tell_engine()
    assert bench.engine.kept == {"room1"}
    assert bench.bot.book.owner("room1") == ADA
    bench.say("Three.")
    await bench.end()
    files = bench.files()
    assert len(files) == 3
    assert all(word in files["Talk/2026-11-28 13-00 Team.md"] for word in (b"One", b"Two", b"Three"))
    assert bench.journals() == 0


@pytest.mark.parametrize("killed", ["before the answer", "after the answer"])
async def test_the_message_is_posted_once_although_the_app_is_killed(
    bench: Bench, killed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    share = UserFiles.share

    async def share_and_die(*arguments: str) -> None:
        assert await share(*arguments) is None  # type: ignore[arg-type]
        raise Killed

    def die(_kept: KeptTranscript) -> None:
        raise Killed

    await bench.begin()
    bench.say("One.")
    with monkeypatch.context() as patch:
        if killed == "before the answer":
            patch.setattr(UserFiles, "share", share_and_die)
        else:
            patch.setattr(KeptTranscript, "delete", die)
        with pytest.raises(ExceptionGroup) as died:
            await bench.end()
        assert died.group_contains(Killed)
    assert bench.journals() == 1
    # Their change is no reason for a second file.
    bench.cloud.files.write("ada", "Talk/2026-11-28 13-00 Team.md", b"corrected")
    bench.start()
    await bench.transcripts.restore()
    await bench.later()
    assert [each.system for each in bench.cloud.bots.chats["room1"]].count("file_shared") == 1
    assert len(bench.files()) == 3
    assert bench.journals() == 0


async def test_a_file_whose_creation_was_not_answered_is_continued(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    create = UserFiles.create

    async def lose_the_answer(files: UserFiles, user: str, path: str, content: bytes) -> Etag | Failure:
        created = await create(files, user, path, content)
        return Failure.AWAY if isinstance(created, Etag) else created

    await bench.begin()
    bench.say("One.")
    with monkeypatch.context() as patch:
        patch.setattr(UserFiles, "create", lose_the_answer)
        await bench.later()
    bench.say("Two.")
    await bench.later()
    assert sorted(bench.files()) == [f"Talk/2026-11-28 13-00 Team{ending}" for ending in (".json", ".md", ".vtt")]
    assert all(b"Two" in content for content in bench.files().values())


async def test_a_slow_answer_for_one_does_not_delay_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, second = UserFiles.attachment_folder, asyncio.Event()
    users: list[str] = []

    async def slow_for_the_first(files: UserFiles, user: str) -> str | Failure:
        users.append(user)
        if len(users) == 1:
            await second.wait()
        else:
            second.set()
        return await folder(files, user)

    await bench.begin()
    bench.say("One.")
    bench.bot.handle(Command("room1", bench.next(), "stop", ADA))
    bench.waiting()
    await bench.begin()
    bench.say("Two.")
    monkeypatch.setattr(UserFiles, "attachment_folder", slow_for_the_first)
    async with asyncio.timeout(60):
        await bench.later()
    assert len(bench.files()) == 6


async def test_a_lost_answer_to_the_share_posts_no_second_message(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    share = UserFiles.share

    async def lose_the_answer(*arguments: str) -> Failure:
        assert await share(*arguments) is None  # type: ignore[arg-type]
        return Failure.AWAY

    await bench.begin()
    bench.say("One.")
    with monkeypatch.context() as patch:
        patch.setattr(UserFiles, "share", lose_the_answer)
        await bench.end()
    assert bench.journals() == 1
    await bench.later()
    assert [each.system for each in bench.cloud.bots.chats["room1"]].count("file_shared") == 1
    assert bench.journals() == 0


async def test_after_a_restart_without_permission_it_is_only_delivered(bench: Bench) -> None:
    await bench.begin()
    bench.say("One.")
    bench.start()
    bench.bot.apply(allowed=False)
    await bench.transcripts.restore()
    assert not bench.transcripts.keeps("room1")
    await bench.later()
    assert len(bench.files()) == 3
    assert bench.journals() == 0


async def test_nothing_was_said(bench: Bench) -> None:
    await bench.begin()
    await bench.end()
    assert bench.files() == {}
    assert any("Nothing was said" in text for text in bench.texts())
    assert bench.journals() == 0


async def test_a_disk_that_cannot_be_written_keeps_nothing(bench: Bench) -> None:
    bench.folder.write_text("not a folder")
    await bench.begin()
    assert not bench.transcripts.keeps("room1")
    assert bench.bot.book.owner("room1") is None
    assert any("cannot store it" in text for text in bench.texts())


async def test_the_end_of_the_call_as_the_engine_sees_it(bench: Bench) -> None:
    await bench.begin()
    bench.say("One.")
    bench.transcripts.on_call_over("room1")
    assert not bench.transcripts.keeps("room1")
    assert bench.bot.book.owner("room1") is None


async def test_neither_words_nor_names_are_logged_or_stored_in_plain_text(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ex_app")
    caplog.set_level(logging.DEBUG, "live_transcription")
    bench.cloud.files.home("ada").quota = 0
    await bench.begin("Secret title")
    bench.say("Confidential words.")
    stored = b"".join(path.read_bytes() for path in bench.folder.glob("*"))
    assert b"Confidential" not in stored
    assert b"Secret title" not in stored
    await bench.end()
    assert caplog.records
    assert not any(word in caplog.text for word in ("Confidential", "Secret title", "Bob", "Ada"))


async def test_the_formats(bench: Bench) -> None:
    await bench.begin()
    bench.say("One.")
    await bench.end()
    files = {path.rpartition(".")[2]: content.decode() for path, content in bench.files().items()}
    assert files["vtt"].startswith("WEBVTT")
    assert "One." in json.dumps(json.loads(files["json"]))
    assert "Bob" in files["md"]

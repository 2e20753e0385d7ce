# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Files in the name of their owner, against the stand-in's WebDAV and shares."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ex_app.errors import NextcloudError
from ex_app.identity import AppIdentity
from ex_app.nextcloud.files import Etag, Failure, UserFiles
from live_transcription.types import Secret
from sandbox.nextcloud import Fault, FaultKind, Nextcloud
from tests.ex_app.fakes import SECRET

NAME = "Talk/Notes, größer 🎉 50% #1?.md"


@pytest.fixture
async def cloud() -> AsyncIterator[Nextcloud]:
    async with Nextcloud() as nextcloud:
        nextcloud.app_api.register(secret=SECRET).enabled = True
        nextcloud.talk.rooms.create("room1")
        nextcloud.talk.join_room("room1", "ada", "Ada")
        yield nextcloud


@pytest.fixture
def files(cloud: Nextcloud) -> UserFiles:
    async def app_is_enabled() -> bool:
        return cloud.app_api.apps["live_transcription"].enabled

    return UserFiles(AppIdentity(Secret(SECRET), version="10.0.0", nextcloud_url=cloud.url), app_is_enabled)


async def test_a_transcript_grows_in_the_attachment_folder(cloud: Nextcloud, files: UserFiles) -> None:
    folder = await files.attachment_folder("ada")
    assert folder == "Talk"
    assert await files.create("ada", NAME, b"one") is Failure.NO_FOLDER
    assert await files.make_folder("ada", folder) is None
    assert await files.make_folder("ada", folder) is None
    first = await files.create("ada", NAME, b"one")
    assert isinstance(first, Etag)
    second = await files.update("ada", NAME, b"one two", first)
    assert isinstance(second, Etag)
    assert cloud.files.home("ada").files[NAME].content == b"one two"
    assert await files.share("ada", NAME, "room1", "The transcript") is None
    assert [(each.system, each.actor, each.text) for each in cloud.bots.chats["room1"]] == [
        ("file_shared", "users/ada", "The transcript")
    ]
    assert await files.share("ada", NAME, "room1", "The transcript") is None, "shared already, and posted again"


async def test_nothing_is_overwritten(cloud: Nextcloud, files: UserFiles) -> None:
    cloud.files.write("ada", "a.md", b"theirs")
    assert await files.create("ada", "a.md", b"ours") is Failure.EXISTS
    etag = await files.create("ada", "b.md", b"ours")
    assert isinstance(etag, Etag)
    cloud.files.write("ada", "b.md", b"corrected by hand")
    assert await files.update("ada", "b.md", b"ours", etag) is Failure.CHANGED
    del cloud.files.home("ada").files["b.md"]
    assert await files.update("ada", "b.md", b"ours", etag) is Failure.CHANGED
    assert await files.update("ada", "a.md", b"ours", Etag("")) is Failure.CHANGED
    assert {path: each.content for path, each in cloud.files.home("ada").files.items()} == {"a.md": b"theirs"}


async def test_what_the_owner_can_do_about_it(cloud: Nextcloud, files: UserFiles) -> None:
    home = cloud.files.home("ada")
    home.quota = 2
    assert await files.create("ada", "a.md", b"three") is Failure.NO_SPACE
    home.quota = None
    assert await files.create("ada", "n" * 251, b"") is Failure.REFUSED
    home.locked.add("a.md")
    assert await files.create("ada", "a.md", b"") is Failure.LOCKED
    assert await files.make_folder("ada", "deep/er") is None
    assert "deep/er" in home.folders
    cloud.talk.without_attachments.add("ada")
    assert await files.attachment_folder("ada") is Failure.REFUSED


async def test_only_our_own_file_is_found(cloud: Nextcloud, files: UserFiles) -> None:
    etag = await files.create("ada", "a.md", b"ours" * 50_000)
    assert await files.find("ada", "a.md", b"ours" * 50_000) == etag
    assert await files.find("ada", "a.md", b"theirs") is Failure.EXISTS
    assert await files.find("ada", "a.md", b"ours" * 50_001) is Failure.EXISTS
    assert await files.find("ada", "b.md", b"ours") is Failure.NO_FOLDER


async def test_whether_a_file_is_shared(cloud: Nextcloud, files: UserFiles) -> None:
    assert await files.is_shared("ada", "a.md", "room1") is False
    await files.create("ada", "a.md", b"1")
    assert await files.is_shared("ada", "a.md", "room1") is False
    assert await files.share("ada", "a.md", "room1", "The transcript") is None
    assert await files.is_shared("ada", "a.md", "room1") is True
    assert await files.is_shared("ada", "a.md", "room2") is False
    for kind in (FaultKind.UNAVAILABLE, FaultKind.GARBAGE, FaultKind.WRONG_SHAPE):
        with cloud.faults.during(Fault(kind)):
            assert await files.is_shared("ada", "a.md", "room1") is Failure.AWAY, kind


async def test_shares_that_are_not_possible(cloud: Nextcloud, files: UserFiles) -> None:
    cloud.files.write("ada", "a.md", b"x")
    assert await files.share("ada", "moved.md", "room1", "") is Failure.CHANGED
    cloud.talk.rooms["room1"].participants.clear()
    assert await files.share("ada", "a.md", "room1", "") is Failure.NOT_IN_ROOM
    assert await files.share("ada", "a.md", "gone", "") is Failure.NOT_IN_ROOM
    assert cloud.bots.chats == {}


async def test_the_owners_account_is_deleted(cloud: Nextcloud, files: UserFiles) -> None:
    cloud.app_api.deleted_users.add("ada")
    assert await files.attachment_folder("ada") is Failure.NO_OWNER
    assert await files.create("ada", "a.md", b"") is Failure.NO_OWNER
    assert await files.share("ada", "a.md", "room1", "") is Failure.NO_OWNER
    # A disabled app is refused with the same status.
    cloud.app_api.apps["live_transcription"].enabled = False
    assert await files.create("ada", "a.md", b"") is Failure.AWAY


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.UNAUTHORIZED])
async def test_nextcloud_is_away(cloud: Nextcloud, kind: FaultKind) -> None:
    async def unknown() -> bool:
        raise NextcloudError("Nextcloud could not be reached (ConnectionError).")

    files = UserFiles(AppIdentity(Secret(SECRET), version="10.0.0", nextcloud_url=cloud.url), unknown)
    with cloud.faults.during(Fault(kind)):
        assert await files.attachment_folder("ada") is Failure.AWAY
        assert await files.make_folder("ada", "Talk") is Failure.AWAY
        assert await files.create("ada", "a.md", b"") is Failure.AWAY
        assert await files.update("ada", "a.md", b"", Etag('"x"')) is Failure.AWAY
        assert await files.share("ada", "a.md", "room1", "") is Failure.AWAY
    await cloud.stop()
    assert await files.create("ada", "a.md", b"") is Failure.AWAY
    assert await files.share("ada", "a.md", "room1", "") is Failure.AWAY
    assert Failure.AWAY.passes
    await cloud.start()


@pytest.mark.parametrize("kind", [FaultKind.GARBAGE, FaultKind.WRONG_SHAPE])
async def test_answers_that_make_no_sense(cloud: Nextcloud, files: UserFiles, kind: FaultKind) -> None:
    with cloud.faults.during(Fault(kind)):
        assert await files.attachment_folder("ada") is Failure.AWAY
        assert await files.share("ada", "a.md", "room1", "") is Failure.AWAY
        assert await files.create("ada", "a.md", b"") is Failure.AWAY

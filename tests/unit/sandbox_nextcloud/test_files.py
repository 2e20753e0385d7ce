# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Users' files in the stand-in: WebDAV's conditions and errors, and shares with conversations."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from sandbox.nextcloud import Nextcloud

SHARES = "/ocs/v2.php/apps/files_sharing/api/v1/shares"


@pytest.fixture
async def cloud() -> AsyncIterator[Nextcloud]:
    async with Nextcloud() as nextcloud:
        nextcloud.app_api.register().enabled = True
        yield nextcloud


async def request(cloud: Nextcloud, method: str, path: str, user: str = "ada", **arguments: Any) -> httpx.Response:
    signed = cloud.app_api.signed(cloud.app_api.apps["live_transcription"], user)
    headers = {"OCS-APIRequest": "true", "Accept": "application/json"} | signed | arguments.pop("headers", {})
    async with httpx.AsyncClient(base_url=cloud.url) as client:
        return await client.request(method, path, headers=headers, **arguments)


async def put(cloud: Nextcloud, path: str, content: bytes = b"x", *, user: str = "ada", **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await request(cloud, "PUT", f"/remote.php/dav/files/ada/{path}", user, content=content, headers=given)


async def test_conditional_writes(cloud: Nextcloud) -> None:
    created = await put(cloud, "a.md", if_none_match="*")
    assert created.status_code == 201
    assert (await put(cloud, "a.md", if_none_match="*")).status_code == 412
    updated = await put(cloud, "a.md", b"y", if_match=created.headers["etag"])
    assert (updated.status_code, cloud.files.home("ada").files["a.md"].content) == (204, b"y")
    refused = await put(cloud, "a.md", b"z", if_match=created.headers["etag"])
    assert refused.status_code == 412
    assert b"PreconditionFailed" in refused.content
    assert (await put(cloud, "b.md", if_match=created.headers["etag"])).status_code == 412
    assert (await put(cloud, "a.md", b"z")).status_code == 204, "without a condition it overwrites"


async def test_folders_names_and_quota(cloud: Nextcloud) -> None:
    assert (await put(cloud, "Talk/a.md")).status_code == 409
    folder = "/remote.php/dav/files/ada/Talk"
    assert [(await request(cloud, "MKCOL", folder)).status_code for _ in range(2)] == [201, 405]
    assert (await request(cloud, "MKCOL", "/remote.php/dav/files/ada/x/y")).status_code == 409
    assert (await put(cloud, "Talk/a.md")).status_code == 201
    assert (await put(cloud, "Talk")).status_code == 409
    assert (await put(cloud, "n" * 251)).status_code == 400
    cloud.files.home("ada").quota = 10
    assert (await put(cloud, "big", b"b" * 11)).status_code == 507
    cloud.files.home("ada").locked.add("Talk/a.md")
    assert (await put(cloud, "Talk/a.md")).status_code == 423


async def test_only_the_owner_and_never_a_deleted_one(cloud: Nextcloud) -> None:
    assert (await put(cloud, "a.md", user="bob")).status_code == 404
    assert (await put(cloud, "a.md", user="")).status_code == 401
    cloud.app_api.deleted_users.add("ada")
    assert (await put(cloud, "a.md")).status_code == 401
    assert cloud.files.writes == [("a.md", 404), ("a.md", 401)]


async def test_a_share_posts_to_the_chat_and_a_second_one_too(cloud: Nextcloud) -> None:
    cloud.talk.rooms.create("room1")
    cloud.files.write("ada", "a.md", b"x")

    async def share(user: str = "ada", token: str = "room1", **changes: Any) -> int:
        body = {"shareType": 10, "shareWith": token, "path": "/a.md", "talkMetaData": json.dumps({"caption": "Notes"})}
        return (await request(cloud, "POST", SHARES, user, json=body | changes)).status_code

    assert await share() == 404, "not in the conversation"
    cloud.talk.join_room("room1", "ada", "Ada")
    assert [await share(), await share()] == [200, 403]
    assert [(each.system, each.actor, each.text) for each in cloud.bots.chats["room1"]] == [
        ("file_shared", "users/ada", "Notes")
    ] * 2
    assert await share(path="/none.md") == 404
    assert await share(token="other") == 404
    assert await share(shareType=3) == 400
    cloud.talk.rooms["room1"].muted.add("ada")
    assert await share() == 404


async def test_the_attachment_folder_is_a_capability_of_the_user(cloud: Nextcloud) -> None:
    async def attachments(user: str) -> Any:
        answer = await request(cloud, "GET", "/ocs/v2.php/cloud/capabilities", user)
        return answer.json()["ocs"]["data"]["capabilities"]["spreed"]["config"]["attachments"]

    assert await attachments("ada") == {"allowed": True, "folder": "/Talk"}
    assert await attachments("") == {"allowed": False}
    cloud.talk.without_attachments.add("ada")
    assert (await attachments("ada"))["allowed"] is False

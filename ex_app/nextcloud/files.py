# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Files in the name of their owner: conditional writes by WebDAV, and shares with conversations.

AppAPI lets an app act for any user. Nothing is ever overwritten: a file is created only if there is none of its name, and
changed only while it is exactly as this app has left it (RFC 9110, section 13). What can go wrong is a value (`Failure`), since
each has to be answered differently; nothing but a cancellation is raised. Neither names nor paths are logged.

nc_py_api sends the requests. Its own helpers do not suit: `files.upload` overwrites, and `files.sharing.create` drops Talk's
metadata.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import niquests
from nc_py_api import AsyncNextcloudApp, NextcloudException

from ex_app.errors import NextcloudError
from ex_app.identity import AppIdentity

#: Longest time in seconds for one request.
REQUEST_S = 30.0
_SHARES = "/ocs/v2.php/apps/files_sharing/api/v1/shares"
_CAPABILITIES = "/ocs/v2.php/cloud/capabilities"
_WITH_ROOM = 10
_MAX_CAPTION = 1000


class Failure(StrEnum):
    """Why something was not done. Only `AWAY` and `LOCKED` pass by themselves."""

    #: There is a file of this name already.
    EXISTS = "exists"
    #: The file is not as it was left: somebody has changed, moved or deleted it.
    CHANGED = "changed"
    #: The folder does not exist.
    NO_FOLDER = "no_folder"
    #: The owner's quota is used up.
    NO_SPACE = "no_space"
    #: The owner's account does not exist any more.
    NO_OWNER = "no_owner"
    #: The owner is not in the conversation, or may not write there.
    NOT_IN_ROOM = "not_in_room"
    #: Nextcloud does not allow it: the name, the folder, or attachments at all.
    REFUSED = "refused"
    #: Somebody is writing the file at the moment.
    LOCKED = "locked"
    #: Nextcloud did not answer, or only with an error.
    AWAY = "away"

    @property
    def passes(self) -> bool:
        """Whether trying again later makes sense."""
        return self in (Failure.AWAY, Failure.LOCKED)


#: Answers to a write: created, changed. Anything else that claims success did not come from WebDAV.
_WRITTEN = (201, 204)
#: By HTTP status; all others mean `AWAY`.
_FAILURES = {
    400: Failure.REFUSED, 403: Failure.REFUSED, 404: Failure.NO_FOLDER, 405: Failure.REFUSED, 409: Failure.NO_FOLDER,
    413: Failure.NO_SPACE, 415: Failure.REFUSED, 423: Failure.LOCKED, 507: Failure.NO_SPACE,
}  # fmt: skip


class Etag(str):
    """The version of a file that was written, as Nextcloud names it, with its quotation marks."""

    __slots__ = ()


class UserFiles:
    """`app_is_enabled`: the gateway's `is_enabled`. It distinguishes a deleted user from an app that Nextcloud refuses.

    Paths are relative to the owner's home, without a leading slash.
    """

    def __init__(self, identity: AppIdentity, app_is_enabled: Callable[[], Awaitable[bool]]) -> None:
        self._identity = identity
        self._app_is_enabled = app_is_enabled

    async def attachment_folder(self, user: str) -> str | Failure:
        """The folder for files that the user shares in Talk, "" for their home. `REFUSED` if they may not share any."""
        found = await self._ocs(user, "GET", _CAPABILITIES)
        if isinstance(found, Failure):
            return found
        attachments = _inner(found, "capabilities", "spreed", "config", "attachments")
        if not isinstance(attachments, dict) or not attachments.get("allowed"):
            return Failure.REFUSED
        folder = attachments.get("folder")
        return folder.strip("/") if isinstance(folder, str) and ".." not in folder.split("/") else ""

    async def make_folder(self, user: str, path: str) -> Failure | None:
        """Create a folder, and those above it, as far as they do not exist."""
        for end in (*(at for at, character in enumerate(path) if character == "/"), len(path)):
            if not path[:end]:
                continue
            status, _ = await self._dav(user, "MKCOL", path[:end])
            # 405: it exists.
            if status not in (201, 405):
                return await self._failure(status)
        return None

    async def create(self, user: str, path: str, content: bytes) -> Etag | Failure:
        """Write a new file; `EXISTS` if there is one of this name.

        After `AWAY`, the file may exist all the same: see `find`.
        """
        status, etag = await self._dav(user, "PUT", path, content, {"If-None-Match": "*"})
        if status in _WRITTEN:
            return Etag(etag)
        return Failure.EXISTS if status == 412 else await self._failure(status)

    async def find(self, user: str, path: str, content: bytes) -> Etag | Failure:
        """The file that a `create` without an answer has left; `EXISTS` if its content is another one, so it is not ours."""
        address = f"/files/{quote(user, safe='')}/{quote(path)}"
        try:
            async with self._client(user) as client:
                answer = await client._session.adapter_dav.request(
                    "GET", address, stream=True, timeout=REQUEST_S, **self._options
                )
                status, etag = answer.status_code or 0, str(answer.headers.get("OC-ETag") or answer.headers.get("ETag") or "")
                if status != 200:
                    return await self._failure(status)
                found = b""
                async for part in await answer.iter_content(65536):
                    found += part
                    if not content.startswith(found):
                        break
                await answer.close()
        except (niquests.RequestException, OSError):
            return Failure.AWAY
        return Etag(etag) if found == content and _is_strong(etag) else Failure.EXISTS

    async def update(self, user: str, path: str, content: bytes, etag: Etag) -> Etag | Failure:
        """Replace the content of a file that `create` or `update` has left with this `etag`; otherwise `CHANGED`."""
        if not etag:
            return Failure.CHANGED
        status, changed = await self._dav(user, "PUT", path, content, {"If-Match": str(etag)})
        if status in _WRITTEN:
            return Etag(changed)
        # 404, 409: its folder is gone.
        return Failure.CHANGED if status in (404, 409, 412) else await self._failure(status)

    async def share(self, user: str, path: str, room: str, caption: str, *, silent: bool = False) -> Failure | None:
        """Post the file in a conversation, with a caption, in the name of its owner.

        If it is shared there already, Talk posts it once more, and that is not a failure.
        """
        body = {
            "shareType": _WITH_ROOM,
            "shareWith": room,
            "path": f"/{path}",
            "talkMetaData": json.dumps({"caption": caption[:_MAX_CAPTION], "silent": silent}),
        }
        found = await self._ocs(user, "POST", _SHARES, json=body, accepted=403)
        if found is not Failure.NO_FOLDER:
            return found if isinstance(found, Failure) else None
        # 404 for either: the message is in the user's language, so only the file itself tells which.
        status, _ = await self._dav(user, "HEAD", path)
        if status == 200:
            return Failure.NOT_IN_ROOM
        return Failure.CHANGED if status == 404 else await self._failure(status)

    async def is_shared(self, user: str, path: str, room: str) -> bool | Failure:
        """Whether the owner has shared the file in a conversation. False if there is no such file."""
        found = await self._ocs(user, "GET", _SHARES, params={"path": f"/{path}"}, accepted=404)
        if isinstance(found, Failure):
            return found
        shares = found if isinstance(found, list) else []
        return any(_inner(each, "share_type") == _WITH_ROOM and _inner(each, "share_with") == room for each in shares)

    async def _failure(self, status: int) -> Failure:
        if status != 401:
            return _FAILURES.get(status, Failure.AWAY)
        try:
            return Failure.NO_OWNER if await self._app_is_enabled() else Failure.AWAY
        except NextcloudError:
            return Failure.AWAY

    async def _dav(
        self, user: str, method: str, path: str, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and ETag of the answer; 0 if there is none."""
        address = f"/files/{quote(user, safe='')}/{quote(path)}"
        try:
            async with self._client(user) as client:
                answer = await client._session.adapter_dav.request(
                    method, address, data=content, headers=headers, timeout=REQUEST_S, **self._options
                )
                etag = str(answer.headers.get("OC-ETag") or answer.headers.get("ETag") or "")
                return answer.status_code or 0, etag if _is_strong(etag) else ""
        except (niquests.RequestException, OSError):
            return 0, ""

    async def _ocs(self, user: str, method: str, path: str, *, accepted: int = 0, **arguments: Any) -> Any:
        """The answer's data, None for the status `accepted`, or a Failure."""
        try:
            async with self._client(user) as client:
                return await client.ocs(method, path, timeout=REQUEST_S, **arguments, **self._options)
        except NextcloudException as error:
            status = error.status_code
        except (ValueError, KeyError, TypeError, AttributeError, niquests.RequestException, OSError):
            status = 0
        if accepted and status == accepted:
            return None
        return await self._failure(401 if status == 997 else status)

    @property
    def _options(self) -> dict[str, Any]:
        """Every request has the app's secret in a header that niquests would pass on to another host."""
        return {"allow_redirects": False, "verify": None if self._identity.verify_certificates else False}

    @asynccontextmanager
    async def _client(self, user: str) -> AsyncIterator[AsyncNextcloudApp]:
        """One per request, since a client has a single user."""
        identity = self._identity
        client = AsyncNextcloudApp(
            nextcloud_url=identity.nextcloud_url,
            app_id=identity.app_id,
            app_version=identity.version,
            app_secret=identity.secret.reveal(),
            aa_version=identity.app_api_version,
            npa_nc_cert=identity.verify_certificates,
        )
        client._session.set_user(user)
        try:
            yield client
        finally:
            await client._session.adapter.close()
            await client._session.adapter_dav.close()


def _is_strong(etag: str) -> bool:
    """Whether it can be sent back in `If-Match`."""
    return 2 < len(etag) <= 256 and etag[0] == etag[-1] == '"' and etag.isascii() and etag.isprintable()


def _inner(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content

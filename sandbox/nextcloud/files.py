# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The files of Nextcloud's users: WebDAV (sabre/dav with Nextcloud's plugins) and shares with conversations (RFC 4918, RFC 9110
section 13; spreed's `RoomShareProvider`)."""

from __future__ import annotations

import itertools
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response

from sandbox.nextcloud.bots import Bots
from sandbox.nextcloud.ocs import OcsError, ocs
from sandbox.nextcloud.rooms import NoSuchRoom
from sandbox.nextcloud.talk import Talk

DAV = "/remote.php/dav/files"
_SHARES = ("/ocs/v1.php/apps/files_sharing/api/v1/shares", "/ocs/v2.php/apps/files_sharing/api/v1/shares")
_ROOM = 10
#: Nextcloud's limit for the name of a file, in bytes.
MAX_NAME = 250


class DavError(Exception):
    def __init__(self, status: int, kind: str, message: str = "") -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


@dataclass(slots=True)
class StoredFile:
    id: int
    content: bytes
    etag: str
    #: Tokens of the conversations that it is shared with.
    shared: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Home:
    """One user's files. `quota`: in bytes, None for no limit. `locked`: paths that somebody edits at the moment."""

    quota: int | None = None
    files: dict[str, StoredFile] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {""})
    locked: set[str] = field(default_factory=set)

    @property
    def free(self) -> int | None:
        return None if self.quota is None else self.quota - sum(len(each.content) for each in self.files.values())


class Files:
    """The homes by user; one exists as soon as it is used. `writes`: path and status of each PUT, in order."""

    def __init__(self, talk: Talk, bots: Bots) -> None:
        self.homes: dict[str, Home] = {}
        self.writes: list[tuple[str, int]] = []
        self._ids = itertools.count(1)
        self._talk, self._bots = talk, bots

    def home(self, user: str) -> Home:
        return self.homes.setdefault(user, Home())

    def write(self, user: str, path: str, content: bytes) -> StoredFile:
        """Write a file as its owner would, without conditions."""
        home = self.home(user)
        stored = home.files.get(path) or StoredFile(next(self._ids), b"", "")
        stored.content, stored.etag = content, f'"{secrets.token_hex(16)}"'
        home.files[path] = stored
        return stored

    def put(self, user: str, path: str, content: bytes, *, if_match: str = "", if_none_match: str = "") -> StoredFile:
        home = self.home(user)
        stored = home.files.get(path)
        exists = stored is not None or path in home.folders
        if if_match and (stored is None or if_match not in ("*", stored.etag)):
            raise DavError(412, "PreconditionFailed", "An If-Match header was specified, and none of its ETags matched.")
        if exists and (if_none_match == "*" or (stored is not None and if_none_match == stored.etag)):
            raise DavError(412, "PreconditionFailed", "An If-None-Match header was specified, but the ETag matched.")
        if path in home.folders:
            raise DavError(409, "Conflict", "PUT is not allowed on non-files.")
        self._check(home, path)
        if path in home.locked:
            raise DavError(423, "Locked")
        if home.free is not None and len(content) > home.free + (len(stored.content) if stored else 0):
            raise DavError(507, "InsufficientStorage", "Insufficient space in the home")
        return self.write(user, path, content)

    def make_folder(self, user: str, path: str) -> None:
        home = self.home(user)
        if path in home.folders or path in home.files:
            raise DavError(405, "MethodNotAllowed", "The resource you tried to create already exists")
        self._check(home, path)
        home.folders.add(path)

    def _check(self, home: Home, path: str) -> None:
        parent, _, name = path.rpartition("/")
        if len(name.encode()) > MAX_NAME or any(each in name for each in "\\\0\n\r") or name in (".", "..", ".htaccess"):
            raise DavError(400, "BadRequest", "The name is not valid")
        if parent not in home.folders:
            raise DavError(409, "Conflict", "Parent node does not exist")

    def share(self, user: str, path: str, token: str, metadata: dict[str, Any]) -> dict[str, Any]:
        stored = self.home(user).files.get(path)
        if stored is None:
            raise OcsError(404, "Wrong path, file/folder does not exist")
        try:
            room = self._talk.rooms[token]
        except NoSuchRoom:
            raise OcsError(404, "Conversation not found") from None
        if room.read_only or room.federated or user not in room.participants or user in room.muted:
            raise OcsError(404, "Conversation not found")
        again, name = token in stored.shared, path.rpartition("/")[2]
        stored.shared.add(token)
        parameters = {"file": {"type": "file", "id": str(stored.id), "name": name, "path": name}}
        self._bots.system(
            token, "file_shared", f"users/{user}", user, text=str(metadata.get("caption") or "{file}"), parameters=parameters
        )
        if again:
            raise OcsError(403, "Path is already shared with this room")
        return self._shown(user, path, stored, token)

    @staticmethod
    def _shown(user: str, path: str, stored: StoredFile, token: str) -> dict[str, Any]:
        return {"id": str(stored.id), "share_type": _ROOM, "share_with": token, "path": f"/{path}", "uid_owner": user}

    def routes(self) -> APIRouter:
        router = APIRouter()

        @router.api_route(DAV + "/{user}/{path:path}", methods=["PUT", "MKCOL", "GET", "HEAD"])
        async def dav(request: Request, user: str, path: str) -> Response:
            content = await request.body()
            try:
                answer = self._dav(request, user, path.strip("/"), content)
            except DavError as error:
                answer = Response(
                    f'<?xml version="1.0" encoding="utf-8"?>\n<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">'
                    f"<s:exception>Sabre\\DAV\\Exception\\{error.kind}</s:exception><s:message>{error.message}</s:message>"
                    "</d:error>",
                    error.status,
                    media_type="application/xml",
                )
            if request.method == "PUT":
                self.writes.append((path.strip("/"), answer.status_code))
            return answer

        for address in _SHARES:

            @router.get(address)
            async def shares(request: Request) -> Response:
                user = request.state.user_id
                if not user:
                    raise OcsError(401, "Current user is not logged in")
                if request.headers.get("ocs-apirequest", "").lower() != "true":
                    raise OcsError(412, "CSRF check failed")
                path = request.query_params.get("path", "").strip("/")
                stored = self.home(user).files.get(path)
                if stored is None:
                    raise OcsError(404, "Wrong path, file/folder does not exist")
                return ocs(request, [self._shown(user, path, stored, token) for token in sorted(stored.shared)])

            @router.post(address)
            async def share(request: Request) -> Response:
                user = request.state.user_id
                if not user:
                    raise OcsError(401, "Current user is not logged in")
                if request.headers.get("ocs-apirequest", "").lower() != "true":
                    raise OcsError(412, "CSRF check failed")
                body = await request.json()
                if not isinstance(body, dict) or not isinstance(body.get("path"), str):
                    raise OcsError(404, "Please specify a file or folder path")
                if body.get("shareType") != _ROOM:
                    raise OcsError(400, "Unknown share type")
                try:
                    metadata = json.loads(body.get("talkMetaData") or "{}")
                except ValueError:
                    metadata = {}
                found = self.share(user, body["path"].strip("/"), str(body.get("shareWith") or ""), metadata)
                return ocs(request, found)

        return router

    def _dav(self, request: Request, user: str, path: str, content: bytes) -> Response:
        if not request.state.user_id:
            raise DavError(401, "NotAuthenticated", "Cannot authenticate")
        if request.state.user_id != user:
            raise DavError(404, "NotFound")
        if request.method == "MKCOL":
            self.make_folder(user, path)
            return Response(b"", 201)
        stored, status = self.home(user).files.get(path), 200
        if request.method == "PUT":
            status = 201 if stored is None else 204
            given = {name: request.headers.get(name.replace("_", "-"), "") for name in ("if_match", "if_none_match")}
            stored = self.put(user, path, content, **given)
        if stored is None:
            raise DavError(404, "NotFound")
        headers = {"ETag": stored.etag, "OC-ETag": stored.etag, "OC-FileId": f"{stored.id:08}ocsandbox"}
        return Response(stored.content if request.method == "GET" else b"", status, headers)

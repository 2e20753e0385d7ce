# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The hub: connections, sessions and rooms; hello, resume, and the end of a session. One loop, no locks."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine
from typing import Any

from sandbox.hpb.conversation import Conversation
from sandbox.hpb.errors import Refusal
from sandbox.hpb.faults import Faults
from sandbox.hpb.frames import Frame, bye, check, parse
from sandbox.hpb.media import Media
from sandbox.hpb.nextcloud_client import NextcloudClient
from sandbox.hpb.room import Room
from sandbox.hpb.session import Connection, Session, VirtualSession
from sandbox.hpb.throttle import Throttle
from sandbox.hpb.tokens import check_internal
from sandbox.hpb.versions import HpbVersion
from sandbox.hpb.websocket_server import Websocket


class Hub:
    """`tasks` runs what outlives a frame. `media` is None for an HPB without SFU."""

    def __init__(
        self,
        hpb_version: HpbVersion,
        nextcloud: NextcloudClient,
        media: Media | None,
        faults: Faults,
        throttle: Throttle,
        tasks: asyncio.TaskGroup,
        *,
        internal_secret: str,
        hello_timeout_s: float,
        session_life_s: float,
    ) -> None:
        self.hpb_version = hpb_version
        self.nextcloud = nextcloud
        self.media = media
        self.faults = faults
        self.internal_secret = internal_secret
        self.connections: set[Connection] = set()
        self.sessions: dict[str, Session] = {}
        self.virtual_sessions: dict[str, VirtualSession] = {}
        self.by_room_session: dict[str, Session | VirtualSession] = {}
        self.rooms: dict[str, Room] = {}
        self.throttle = throttle
        self._session_key = secrets.token_urlsafe(9)
        self._hello_timeout_s = hello_timeout_s
        self._session_life_s = session_life_s
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._conversation = Conversation(self)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def serve(self, websocket: Websocket) -> None:
        """One connection, from the welcome until it ends."""
        connection = Connection(websocket, self.faults)
        self.connections.add(connection)
        features = self.hpb_version.welcome_features(mcu=self.media is not None)
        connection.send({"type": "welcome", "welcome": {"version": self.hpb_version.version, "features": features}})
        self._expect_hello(connection)
        try:
            async for message in websocket.messages():
                if not websocket.over:
                    await self._receive(connection, message)
        finally:
            self.connections.discard(connection)
            self._unregister(connection)

    def _expect_hello(self, connection: Connection) -> None:
        def too_late() -> None:
            connection.send(bye("hello_timeout"))
            connection.websocket.close()

        connection.hello_deadline = asyncio.get_running_loop().call_later(self._hello_timeout_s, too_late)

    def _unregister(self, connection: Connection) -> None:
        """The connection is gone; its session, if any, waits a while for another."""
        if connection.hello_deadline is not None:
            connection.hello_deadline.cancel()
        session, connection.session = connection.session, None
        if session is not None and session.connection is connection:
            session.connection = None
            if session.id in self.sessions:
                expire = asyncio.get_running_loop().call_later
                session.expiry = expire(self._session_life_s, lambda: self.spawn(self.close_session(session)))

    async def _receive(self, connection: Connection, message: str | bytes) -> None:
        frame: Frame = {}
        try:
            frame = parse(message)
            check(frame, self.hpb_version)
            if connection.session is not None:
                await self._conversation.handle(connection, connection.session, frame)
            else:
                await self._hello(connection, frame)
        except Refusal as refusal:
            answer = refusal.frame(frame.get("id"))
            if connection.session is not None:
                connection.session.send(answer)
            else:
                connection.send(answer)

    async def _hello(self, connection: Connection, frame: Frame) -> None:
        if frame["type"] != "hello":
            raise Refusal("hello_expected")
        hello = frame["hello"]
        if hello.get("resumeid"):
            # A failed resume does not extend the time for a hello.
            await self._resume(connection, frame)
            return
        if connection.hello_deadline is not None:
            connection.hello_deadline.cancel()
        try:
            kind = hello["auth"].get("type") or "client"
            if kind == "internal":
                user = await self._internal(connection, hello["auth"]["params"])
            else:
                user = await self._user(hello)
            if not connection.websocket.open:
                return
            session = Session(kind, user["userid"], user["user"], frozenset(hello.get("features") or ()))
            session.resume_id = self._session_key + session.resume_id
            self.sessions[session.id] = session
            self._attach(connection, session, frame)
        finally:
            if connection.session is None:
                self._expect_hello(connection)

    def _attach(self, connection: Connection, session: Session, frame: Frame) -> None:
        if connection.hello_deadline is not None:
            connection.hello_deadline.cancel()
        connection.session, session.connection = session, connection
        mcu = self.media is not None
        features = (
            self.hpb_version.internal_features(mcu=mcu) if session.internal else self.hpb_version.client_features(mcu=mcu)
        )
        answer = {
            "version": frame["hello"]["version"],
            "sessionid": session.id,
            "resumeid": session.resume_id,
            "userid": session.user_id,
            "server": {"version": self.hpb_version.version, "features": features},
        }
        connection.send({**({"id": frame["id"]} if frame.get("id") else {}), "type": "hello", "hello": answer})

    async def _internal(self, connection: Connection, params: Frame) -> Frame:
        address, now = connection.websocket.address, time.monotonic()
        if self.internal_secret and self.throttle.blocked(address, "HelloInternal", now):
            raise Refusal("too_many_requests")
        try:
            check_internal(self.internal_secret, params.get("random", ""), params.get("token", ""))
            self._check_backend(params["backend"])
        except Refusal as refusal:
            if refusal.code != "invalid_client_type":
                await asyncio.sleep(self.throttle.failed(address, "HelloInternal", now))
            raise
        return {"userid": "", "user": None}

    def _check_backend(self, url: str) -> None:
        if not self.nextcloud.knows(url):
            raise Refusal("invalid_backend")

    async def _user(self, hello: Frame) -> Frame:
        self._check_backend(hello["auth"]["url"])
        params = hello["auth"]["params"]
        if hello["version"] == "1.0":
            return await self.nextcloud.ticket_user(params)
        return await self.nextcloud.token_user(params["token"], time.time())

    async def _resume(self, connection: Connection, frame: Frame) -> None:
        resume_id = frame["hello"]["resumeid"]
        address, now = connection.websocket.address, time.monotonic()
        if self.throttle.blocked(address, "HelloResume", now):
            raise Refusal("too_many_requests")
        if not resume_id.startswith(self._session_key):  # from before a restart with other keys: it looks like a guess
            await asyncio.sleep(self.throttle.failed(address, "HelloResume", now))
            raise Refusal("no_such_session")
        session = next((session for session in self.sessions.values() if session.resume_id == resume_id), None)
        if session is None:
            raise Refusal("no_such_session")
        if session.expiry is not None:
            session.expiry.cancel()
        earlier = session.connection
        if earlier is not None:
            earlier.session = None
            earlier.send(bye("session_resumed"))
            earlier.websocket.close()
        pending = session.take_pending()
        self._attach(connection, session, frame)
        for waiting in pending:
            connection.send(waiting)
        told = any(waiting.get("event", {}).get("target") == "participants" for waiting in pending)
        if session.room is not None and not told:
            update = session.room.update_frame(session.room.users)
            if update["event"]["update"]["users"]:
                session.send(update)

    def remove_virtual(self, virtual: VirtualSession) -> None:
        virtual.owner.virtual_sessions.pop(virtual.own_id, None)
        self.virtual_sessions.pop(virtual.id, None)
        self.by_room_session.pop(virtual.id, None)
        if virtual.room is not None:
            virtual.room.remove(virtual)

    async def release_media(self, session: Session) -> None:
        """Its streams end; whether its subscribers' peers stay up depends on `hpb_version`."""
        if self.media is None:
            return
        await self.media.release(session)
        if self.hpb_version.closes_orphans:
            for other in tuple(self.sessions.values()):
                for key in [key for key in other.subscribers if key[0] == session.id]:
                    await self.media.sfu.unsubscribe(other.subscribers.pop(key))

    async def leave_room(self, session: Session, *, notify: bool = True) -> bool:
        """False if it was in none. With `notify`, Nextcloud is notified in the background."""
        room = session.room
        if room is None:
            return False
        room_session = session.room_session
        if self.by_room_session.get(room_session) is session:
            del self.by_room_session[room_session]
        session.forget_room()
        room.remove(session)
        if not room.sessions:
            self.rooms.pop(room.token, None)
        await self.release_media(session)
        if notify and room_session and session.kind != "federation":
            self.spawn(self.nextcloud.leave(room.token, session.user_id, room_session))
        return True

    async def close_session(self, session: Session, *, notify: bool = True) -> None:
        """Close the session: it leaves the room, its media close, and it cannot be resumed."""
        if self.sessions.pop(session.id, None) is None:
            return
        if session.expiry is not None:
            session.expiry.cancel()
        for virtual in tuple(session.virtual_sessions.values()):
            self.remove_virtual(virtual)
        await self.leave_room(session, notify=notify)
        await self.release_media(session)

    def forget_everything(self, *, new_keys: bool = False) -> None:
        """Like a restart of the process: void every session and room, cut every connection, forget all failures.

        `new_keys`: the configuration has other session keys, so earlier resume ids cannot be decoded.
        """
        self.throttle.forget()
        if new_keys:
            self._session_key = secrets.token_urlsafe(9)
        for session in self.sessions.values():
            if session.expiry is not None:
                session.expiry.cancel()
            session.subscribers.clear()
        for registry in (self.sessions, self.virtual_sessions, self.by_room_session, self.rooms):
            registry.clear()
        for connection in tuple(self.connections):
            connection.websocket.abort()

    async def close(self) -> None:
        self.forget_everything()
        for task in tuple(self._running):
            task.cancel()

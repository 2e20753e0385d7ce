# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The stand-in as a whole: one port, the hub behind it, and faults by method or by HTTP."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from sandbox.hpb.backend_api import BackendApi
from sandbox.hpb.faults import Faults
from sandbox.hpb.hub import Hub
from sandbox.hpb.media import Media
from sandbox.hpb.nextcloud_client import NextcloudClient
from sandbox.hpb.session import Session
from sandbox.hpb.throttle import Throttle
from sandbox.hpb.versions import V2_1, HpbVersion
from sandbox.hpb.websocket_server import HttpRequest, HttpResponse, WebsocketServer
from sandbox.sfu import Impairment, Sfu


class HpbStandIn:
    """An async context manager; listens on loopback. `sfu` None: an HPB without media server, which says so in its welcome.

    The times are the real server's; tests may shorten them. Methods whose names are faults do what they say at once.
    `POST /sandbox/NAME` with their arguments as a JSON object does the same from another process, `GET /sandbox/state`
    counts what there is.
    """

    def __init__(
        self,
        nextcloud: NextcloudClient,
        sfu: Sfu | None,
        *,
        internal_secret: str = "",
        hpb_version: HpbVersion = V2_1,
        host: str = "127.0.0.1",
        port: int = 0,
        hello_timeout_s: float = 2.0,
        session_life_s: float = 30.0,
        offer_wait_s: float = 10.0,
        throttle_delay_s: float = 0.1,
    ) -> None:
        self.faults = Faults()
        self.sfu = sfu
        self._tasks = asyncio.TaskGroup()
        self.hub = Hub(
            hpb_version,
            nextcloud,
            Media(sfu, self.faults, timeout_s=offer_wait_s, sessions=lambda: self._sessions(None)) if sfu is not None else None,
            self.faults,
            Throttle(throttle_delay_s),
            self._tasks,
            internal_secret=internal_secret,
            hello_timeout_s=hello_timeout_s,
            session_life_s=session_life_s,
        )
        self._backend = BackendApi(self.hub)
        features = ", ".join(hpb_version.welcome_features(mcu=sfu is not None))
        self._websocket_server = WebsocketServer(self.hub.serve, self._request, features=features)
        self._host, self._port = host, port

    @property
    def url(self) -> str:
        """Base URL for Talk's requests; the websocket is at `/spreed` below it."""
        return f"http://{self._host}:{self._port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://{self._host}:{self._port}/spreed"

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        await self._websocket_server.open(self._host, self._port)
        self._port = self._websocket_server.port
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._websocket_server.close()
        await self.hub.close()
        await self._tasks.__aexit__(kind, error, trace)

    # Faults

    def cut(self, session: str | None = None) -> int:
        """Cut the websocket of one session, or all, without a word; they may resume. Returns how many."""
        cut = [c for c in self.hub.connections if session is None or (c.session is not None and c.session.id == session)]
        for connection in cut:
            connection.websocket.abort()
        return len(cut)

    async def forget(self, session: str) -> None:
        """Cut its websocket and expire the session at once, as after 30 s: a resume is `no_such_session`."""
        self.cut(session)
        if session in self.hub.sessions:
            await self.hub.close_session(self.hub.sessions[session])

    async def restart(self, down_s: float = 0.0, *, internal_secret: str | None = None, new_keys: bool = False) -> None:
        """Every session, room and peer is void; for `down_s` nobody listens on the port.

        `internal_secret`, `new_keys`: changes of the configuration.
        """
        if internal_secret is not None:
            self.hub.internal_secret = internal_secret
        self.hub.forget_everything(new_keys=new_keys)
        if self.sfu is not None:
            await self.sfu.close_all()
        if down_s > 0:
            await self._websocket_server.close()
            await asyncio.sleep(down_s)
            await self._websocket_server.open(self._host, self._port)

    async def kill_sfu(self, *, silently: bool = True) -> None:
        """Every peer is gone and signaling says nothing of it; `silently` also without DTLS close (SIGKILL, not SIGTERM)."""
        if self.sfu is not None:
            await self.sfu.close_all(silently=silently)

    def send_raw(self, text: str | bytes, session: str | None = None) -> int:
        """Garbage: any text, or binary, to one session's client or all. Returns how many got it."""
        addressed = [c for c in self.hub.connections if session is None or (c.session is not None and c.session.id == session)]
        for connection in addressed:
            if isinstance(text, bytes):
                connection.websocket.send_binary(text)
            else:
                connection.send_text(text)
        return len(addressed)

    def impair(self, impairment: Impairment) -> None:
        """The packets to all subscribers, present and future."""
        if self.sfu is not None:
            self.sfu.impairment = impairment
            for subscriber in self.sfu.subscribers:
                subscriber.impair(impairment)

    async def renegotiate(self, session: str | None = None) -> int:
        """A new offer under the same sid to all subscribers of one session, or of all. Returns how many."""
        count = 0
        for subscribed in self._sessions(session):
            for (publisher, room_type), subscriber in tuple(subscribed.subscribers.items()):
                assert self.hub.media is not None
                await self.hub.media.send_offer(subscribed, publisher, room_type, subscriber)
                count += 1
        return count

    async def close_subscribers(self, session: str | None = None, *, silently: bool = True) -> int:
        """The SFU closes them and signaling says nothing; with `silently` not even DTLS does. Returns how many."""
        count = 0
        for subscribed in self._sessions(session):
            for key in tuple(subscribed.subscribers):
                assert self.sfu is not None
                await self.sfu.unsubscribe(subscribed.subscribers.pop(key), silently=silently)
                count += 1
        return count

    def _sessions(self, session: str | None) -> list[Session]:
        return [known for known in self.hub.sessions.values() if session in (None, known.id)]

    def state(self) -> dict[str, Any]:
        """Counts, and what each subscriber got; no names."""
        publishers = self.sfu.publishers if self.sfu is not None else {}
        subscribers = [
            {
                "session": session.id,
                "publisher": publisher,
                "sid": subscriber.sid,
                "state": subscriber.state,
                "sent": subscriber.sent,
                "first_sent_at": subscriber.first_sent_at,
                "lost": subscriber.path.lost,
            }
            for session in self.hub.sessions.values()
            for (publisher, _), subscriber in session.subscribers.items()
        ]
        return {
            "version": self.hub.hpb_version.version,
            "connections": len(self.hub.connections),
            "sessions": {session.id: session.kind for session in self.hub.sessions.values()},
            "rooms": {token: len(room.sessions) for token, room in self.hub.rooms.items()},
            "publishers": len(publishers),
            "subscribers": subscribers,
        }

    # HTTP

    async def _request(self, request: HttpRequest) -> HttpResponse:
        path = request.path.removeprefix("/standalone-signaling")
        if request.method == "POST" and path.startswith("/api/v1/room/"):
            return await self._backend.room(path.removeprefix("/api/v1/room/"), request)
        if request.method == "GET" and path == "/api/v1/welcome":
            return _json({"nextcloud-spreed-signaling": "Welcome", "version": self.hub.hpb_version.version})
        if request.method == "GET" and path == "/sandbox/state":
            return _json(self.state())
        if request.method == "POST" and path.startswith("/sandbox/"):
            try:
                return _json(await self._fault(path.removeprefix("/sandbox/"), json.loads(request.body or b"{}")))
            except (TypeError, ValueError, LookupError) as error:
                return HttpResponse(HTTPStatus.BAD_REQUEST, json.dumps({"error": str(error)}).encode())
        return HttpResponse(HTTPStatus.NOT_FOUND, b"404 page not found\n", "text/plain; charset=utf-8")

    async def _fault(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if name == "faults":
            for key, value in arguments.items():
                if not hasattr(self.faults, key):
                    raise LookupError(f"no fault {key}")
                setattr(self.faults, key, value)
            return {}
        if name == "restart":
            self.hub.spawn(self._restart_soon(**arguments))
            return {}
        if name == "impair":
            self.impair(Impairment(**arguments))
            return {}
        if name in ("cut", "send_raw"):
            return {"count": getattr(self, name)(**arguments)}
        if name in ("renegotiate", "close_subscribers"):
            return {"count": await getattr(self, name)(**arguments)}
        if name in ("forget", "kill_sfu"):
            await getattr(self, name)(**arguments)
            return {}
        raise LookupError(f"no fault {name}")

    async def _restart_soon(self, down_s: float = 0.0) -> None:
        await asyncio.sleep(0.05)  # the answer to the request goes out first
        await self.restart(down_s)


def _json(content: dict[str, Any]) -> HttpResponse:
    return HttpResponse(HTTPStatus.OK, json.dumps(content).encode())

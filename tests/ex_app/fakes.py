# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""An engine and a Nextcloud that live in memory."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from ex_app.errors import NextcloudError
from live_transcription.errors import CallNotFound, LiveTranscriptionError, UnknownLanguage
from live_transcription.types import IceServer, Language

SECRET = "app-secret-of-the-tests"

ENVIRONMENT = {
    "APP_ID": "live_transcription",
    "APP_VERSION": "10.0.0",
    "APP_SECRET": SECRET,
    "AA_VERSION": "32.0.0",
    "NEXTCLOUD_URL": "https://cloud.example.com",
    "LT_HPB_URL": "https://hpb.example.com/standalone-signaling",
    "LT_INTERNAL_SECRET": "internal-secret-of-the-tests",
}


def credentials(user: str = "user-1", secret: str = SECRET, **headers: str) -> dict[str, str]:
    """The headers that AppAPI sends."""
    return {
        "AA-VERSION": "32.0.0",
        "EX-APP-ID": "live_transcription",
        "EX-APP-VERSION": "10.0.0",
        "AUTHORIZATION-APP-API": base64.b64encode(f"{user}:{secret}".encode()).decode(),
        **headers,
    }


@dataclass
class FakeError:
    at: float
    code: str
    message: str


@dataclass
class FakeStatus:
    calls: int = 0
    speakers: int = 0
    targets: int = 0
    captions_sent: int = 0
    engines: tuple[str, ...] = ("whisper",)
    last_errors: tuple[FakeError, ...] = ()
    problem: str | None = None


@dataclass
class FakeEngine:
    """Remembers what it was asked; `failure` is raised, `hook` awaited by every request."""

    rooms: dict[str, dict[str, str | None]] = field(default_factory=dict)
    languages_of: dict[str, str | None] = field(default_factory=dict)
    failure: LiveTranscriptionError | Exception | None = None
    hook: Callable[[], Awaitable[None]] | None = None
    is_open: bool = False
    problem: str | None = None
    requests: int = 0

    async def __aenter__(self) -> FakeEngine:
        self.is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self.rooms.clear()
        self.is_open = False
        return None

    async def enable(
        self, room_token: str, nc_session_id: str, *, language: str | None = None, user_id: str | None = None
    ) -> None:
        await self._requested()
        self._check(language)
        self.rooms.setdefault(room_token, {})[nc_session_id] = user_id
        self.languages_of[room_token] = language

    async def disable(self, room_token: str, nc_session_id: str) -> None:
        await self._requested()
        self.rooms.get(room_token, {}).pop(nc_session_id, None)

    async def set_language(self, room_token: str, language: str) -> None:
        await self._requested()
        self._check(language)
        if room_token not in self.rooms:
            raise CallNotFound("There is no transcription in this room.")
        self.languages_of[room_token] = language

    async def leave(self, room_token: str) -> None:
        await self._requested()
        self.rooms.pop(room_token, None)

    async def leave_all(self) -> None:
        self.rooms.clear()

    def languages(self) -> Mapping[str, Language]:
        return {"fr": Language("fr", "Français"), "en": Language("en", "English")}

    def status(self) -> FakeStatus:
        return FakeStatus(
            calls=len(self.rooms), targets=sum(map(len, self.rooms.values())), captions_sent=7, problem=self.problem
        )

    async def _requested(self) -> None:
        self.requests += 1
        if self.hook is not None:
            await self.hook()
        if self.failure is not None:
            raise self.failure

    def _check(self, language: str | None) -> None:
        if language is not None and language not in self.languages():
            raise UnknownLanguage("This language cannot be transcribed.")


@dataclass
class FakeNextcloud:
    """Fails the next `failures` requests."""

    enabled: bool = True
    failures: int = 0
    reports: list[tuple[int, str]] = field(default_factory=list)
    on_complete: Callable[[], Awaitable[Any]] | None = None
    closed: bool = False
    reported: asyncio.Event = field(default_factory=asyncio.Event)

    async def ice_servers(self) -> tuple[IceServer, ...]:
        return ()

    async def is_enabled(self) -> bool:
        self._fail()
        return self.enabled

    async def report_progress(self, percent: int, error: str = "") -> None:
        self._fail()
        self.reports.append((percent, error))
        if percent == 100 and self.on_complete is not None:
            await self.on_complete()
        if percent == 100 or error:
            self.reported.set()

    async def log(self, level: int, text: str) -> None:
        return

    async def aclose(self) -> None:
        self.closed = True

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise NextcloudError("Nextcloud could not be reached (ConnectionError).")

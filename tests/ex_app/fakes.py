# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Fakes of the engine and of Nextcloud, in memory."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from ex_app.background import Background
from ex_app.errors import NextcloudError
from ex_app.health import AppHealth, NextcloudHealth
from ex_app.lifecycle import Lifecycle
from ex_app.nextcloud.gateway import Page, TalkFacts
from ex_app.nextcloud.schemes import check_command, check_form
from ex_app.selftest.recording import TEXT
from ex_app.settings.store import SavedSettings
from live_transcription.config import EngineConfig, HpbConfig, SttConfig
from live_transcription.errors import (
    CallNotFound,
    ConfigurationError,
    LiveTranscriptionError,
    NotATarget,
    SignalingUnreachable,
    SttError,
    SttUnavailable,
    TranslationUnavailable,
    UnknownLanguage,
)
from live_transcription.languages import CHOICES
from live_transcription.observability.health import Outcomes
from live_transcription.observability.metrics import caption_statistics, expose
from live_transcription.status import (
    CallSnapshot,
    CaptionStatistics,
    Condition,
    Dependency,
    EngineState,
    GpuUsage,
    HpbReport,
    IceReport,
    MemoryStatus,
    RecordedError,
    ServiceStatus,
    SpeechStatus,
)
from live_transcription.types import Frame, IceServer, Language, Secret, TranslationLanguages

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


def fake_status(**changes: Any) -> ServiceStatus:
    values: dict[str, Any] = {"calls": 0, "speakers": 0, "targets": 0, "captions_sent": 0, "engines": ("whisper",)}
    return ServiceStatus(**(values | {"last_errors": (), "problem": None, "memory": MemoryStatus(300 << 20)} | changes))


@dataclass
class FakeEngine:
    """Records requests. Each request awaits `hook` and raises `failure`."""

    rooms: dict[str, dict[str, str | None]] = field(default_factory=dict)
    languages_of: dict[str, str | None] = field(default_factory=dict)
    #: Rooms that are transcribed for a transcript, and their languages.
    kept: dict[str, str | None] = field(default_factory=dict)
    failure: LiveTranscriptionError | Exception | None = None
    hook: Callable[[], Awaitable[None]] | None = None
    is_open: bool = False
    problem: str | None = None
    requests: int = 0
    applied: list[EngineConfig | ConfigurationError] = field(default_factory=list)
    #: The engines' settings as last applied, and how often the HPB was checked.
    stt: SttConfig | None = None
    checks: int = 0
    probed: list[HpbConfig] = field(default_factory=list)
    probe_failure: LiveTranscriptionError | None = None
    probe_pause: asyncio.Event | None = None
    heard: str = TEXT
    speech: SpeechStatus = SpeechStatus((EngineState("embedded", "up"),), 0, 0.0, 0, 0.0)  # noqa: RUF009  frozen
    usage: GpuUsage = GpuUsage(0, 0.0)  # noqa: RUF009  frozen
    errors: tuple[RecordedError, ...] = ()
    conditions: tuple[Condition, ...] = ()
    waiting: int = 0
    #: By the dependency's name; that of an engine follows from `speech` unless it is here.
    outcomes: dict[str, Dependency] = field(default_factory=lambda: {"hpb": Dependency("hpb", "ok", at=1.0)})
    memory: MemoryStatus = MemoryStatus(300 << 20)  # noqa: RUF009  frozen
    pairs: TranslationLanguages = field(default_factory=TranslationLanguages)
    translations: dict[str, str | None] = field(default_factory=dict)

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
        self.rooms.setdefault(room_token, {})[nc_session_id] = user_id
        self.languages_of[room_token] = language if language in self.languages() else None

    async def disable(self, room_token: str, nc_session_id: str) -> None:
        await self._requested()
        self.rooms.get(room_token, {}).pop(nc_session_id, None)

    async def keep_transcribing(self, room_token: str, *, language: str | None = None) -> None:
        await self._requested()
        self.kept[room_token] = language

    async def stop_keeping(self, room_token: str) -> None:
        await self._requested()
        self.kept.pop(room_token, None)

    async def set_language(self, room_token: str, language: str) -> None:
        await self._requested()
        if language not in self.languages():
            raise UnknownLanguage("This language cannot be transcribed.")
        if room_token not in self.rooms:
            raise CallNotFound("There is no transcription in this room.")
        self.languages_of[room_token] = language

    async def leave(self, room_token: str) -> None:
        await self._requested()
        self.rooms.pop(room_token, None)

    async def leave_all(self, grace_s: float | None = None) -> None:
        self.rooms.clear()

    def apply(self, config: EngineConfig | ConfigurationError, stt: SttConfig | None = None) -> None:
        self.applied.append(config)
        self.stt = stt

    def export(self) -> tuple[CallSnapshot, ...]:
        return tuple(CallSnapshot(room, "en", tuple(targets.items())) for room, targets in self.rooms.items())

    def restore(self, snapshots: Sequence[CallSnapshot]) -> None:
        self.rooms.update({snapshot.room_token: dict(snapshot.targets) for snapshot in snapshots})

    def gpu_usage(self) -> GpuUsage:
        return self.usage

    def restore_gpu_usage(self, usage: GpuUsage) -> None:
        self.usage = usage

    def speech_status(self) -> SpeechStatus:
        return self.speech

    async def probe_hpb(self, config: HpbConfig, connected: Callable[[], None]) -> HpbReport:
        self.probed.append(config)
        if isinstance(self.probe_failure, SignalingUnreachable):
            raise self.probe_failure
        connected()
        if self.probe_failure is not None:
            raise self.probe_failure
        return HpbReport("2.0.4", ("mcu", "recipient-call"))

    async def check_hpb(self) -> None:
        self.checks += 1

    async def probe_ice(self, servers: Sequence[IceServer]) -> tuple[tuple[IceReport, ...], int]:
        return tuple(IceReport("stun", url, "192.0.2.1:4711") for server in servers for url in server.urls), 0

    async def probe_engine(
        self, name: str, speech: Frame, language: str, *, opened: Callable[[], None], heard: Callable[[str], None]
    ) -> str:
        if isinstance(self.probe_failure, SttError):
            raise self.probe_failure
        opened()
        if self.probe_pause is not None:
            await self.probe_pause.wait()
        heard("I'm sorry, but")
        if not self.heard:
            raise SttUnavailable("The engine accepted the recording but returned no text.", fix="See its log.")
        return self.heard

    def languages(self) -> Mapping[str, Language]:
        return {code: CHOICES[code] for code in ("fr", "en", "auto")}

    async def set_translation(
        self, room_token: str, nc_session_id: str, language: str | None, *, user_id: str | None = None
    ) -> None:
        await self._requested()
        if language is not None and not self.pairs.targets:
            raise TranslationUnavailable("There is no translation provider.")
        if language is not None and nc_session_id not in self.rooms.get(room_token, {}):
            raise NotATarget("This session has not asked for captions.")
        self.translations[nc_session_id] = language

    def translation_languages(self) -> TranslationLanguages:
        return self.pairs

    def caption_statistics(self) -> CaptionStatistics:
        return caption_statistics()

    def metrics(self) -> bytes:
        return expose(self.status())

    def status(self) -> ServiceStatus:
        return fake_status(
            calls=len(self.rooms),
            targets=sum(map(len, self.rooms.values())),
            captions_sent=7,
            problem=self.problem,
            last_errors=self.errors,
            conditions=self.conditions,
            speakers_waiting=self.waiting,
            memory=self.memory,
            dependencies=self._dependencies(),
        )

    def _dependencies(self) -> tuple[Dependency, ...]:
        engines = Outcomes()
        engines.observe_engines(self.speech.engines, 1.0)
        named = {name: Dependency(name) for name in ("hpb", "media", "turn")} | {each.name: each for each in engines.engines()}
        return tuple((named | self.outcomes).values())

    async def _requested(self) -> None:
        self.requests += 1
        if self.hook is not None:
            await self.hook()
        if self.failure is not None:
            raise self.failure


@dataclass
class FakeNextcloud:
    """Fails the next `failures` requests."""

    enabled: bool = True
    failures: int = 0
    reports: list[tuple[int, str]] = field(default_factory=list)
    on_complete: Callable[[], Awaitable[Any]] | None = None
    closed: bool = False
    values: dict[str, str] = field(default_factory=dict)
    secret_keys: set[str] = field(default_factory=set)
    pages: list[Page] = field(default_factory=list)
    forms: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    commands: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    in_setup_checks: bool = False
    bots: list[tuple[str, str, str]] = field(default_factory=list)
    admins: frozenset[str] = frozenset({"user-1"})
    lines: list[tuple[int, str]] = field(default_factory=list)
    servers: tuple[IceServer, ...] = ()
    reads: int = 0
    confirmations: int = 0
    talk_facts: TalkFacts | None = TalkFacts("22.0.12", encrypts_calls=False)  # noqa: RUF009  frozen
    reported: asyncio.Event = field(default_factory=asyncio.Event)

    async def ice_servers(self) -> tuple[IceServer, ...]:
        self._fail()
        return self.servers

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
        self._fail()
        self.lines.append((level, text))

    async def read_values(self, keys: Sequence[str]) -> dict[str, str]:
        self._fail()
        self.reads += 1
        return {key: value for key, value in self.values.items() if key in keys}

    async def write_value(self, key: str, value: str, *, secret: bool) -> None:
        self._fail()
        self.values[key] = value
        self.secret_keys |= {key} if secret else set()

    async def delete_values(self, keys: Sequence[str]) -> None:
        self._fail()
        for key in keys:
            self.values.pop(key, None)

    async def put_page(self, page: Page) -> None:
        self._fail()
        self.pages.append(page)

    async def remove_page(self, page: Page) -> None:
        self._fail()
        if page in self.pages:
            self.pages.remove(page)

    async def put_form(self, form: Mapping[str, Any]) -> None:
        self._fail()
        check_form(form)
        self.forms[form["id"]] = form

    async def put_command(self, command: Mapping[str, Any]) -> None:
        self._fail()
        check_command(command)
        self.commands[command["name"]] = command

    async def task_types(self) -> Any:
        """There is no provider of translations."""
        return {}

    async def join_setup_checks(self) -> None:
        self._fail()
        self.in_setup_checks = True

    async def put_bot(self, name: str, route: str, description: str) -> Secret:
        self._fail()
        self.bots.append((name, route, description))
        return Secret("bot-secret-of-the-tests-with-40-characters")

    async def is_admin(self, user_id: str) -> bool:
        self._fail()
        return user_id in self.admins

    async def server_version(self) -> str:
        self._fail()
        return "32.0.3"

    async def talk(self) -> TalkFacts | None:
        self._fail()
        return self.talk_facts

    def credentials_confirmed(self) -> None:
        self.confirmations += 1

    async def aclose(self) -> None:
        self.closed = True

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise NextcloudError("Nextcloud could not be reached (ConnectionError).")


def health_of(engine: FakeEngine, nextcloud: FakeNextcloud, saved: SavedSettings) -> AppHealth:
    """The health of an app of which nothing else runs."""
    return AppHealth(engine, Lifecycle(engine, nextcloud, Background()), saved, NextcloudHealth(lambda: 0.0))

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Settings from three sources: a value that an administrator saved, else the environment, else the default.

A missing or malformed value never stops the app: it becomes a `ConfigurationError` in `problems`, and the next source counts.
What the engine cannot do without is told by `engine_config()`. An empty value counts as absent, since AppAPI passes declared
variables that nobody filled in as empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from ex_app.settings.fields import key_of
from ex_app.settings.parsers import (
    absolute_path,
    boolean,
    call_count,
    engine_order,
    frame_length,
    hpb_address,
    known_language,
    known_languages,
    log_level,
    megabytes,
    modal_key,
    modal_secret,
    modal_workspace,
    nextcloud_address,
    port_number,
    secret,
    speaker_count,
    stt_address,
    token,
)
from live_transcription.config import (
    ENGINES,
    AudioConfig,
    EmbeddedConfig,
    EngineConfig,
    HpbConfig,
    SttConfig,
)
from live_transcription.config_stt import PUBLIC_MOSHI_KEY, ModalConfig, MoshiConfig
from live_transcription.errors import ConfigurationError
from live_transcription.runtime.hosts import is_loopback
from live_transcription.types import Secret

T = TypeVar("T")

APP_ID = "live_transcription"
DEFAULT_PORT = 8080


@dataclass(frozen=True, slots=True)
class AppIdentity:
    """The app's identity, from AppAPI. An empty `secret` means that no request can be authenticated.

    `verify_certificates` concerns Nextcloud's certificate.
    """

    secret: Secret
    app_id: str = APP_ID
    version: str = "0"
    app_api_version: str = ""
    nextcloud_url: str = ""
    verify_certificates: bool = True


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: the unix socket if there is one (HaRP), else host and port."""

    host: str
    port: int
    unix_socket: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, validated. `blocking`: the problems that keep the engine from joining calls.

    `verify_certificates` concerns the HPB's certificate. `notices`: lines for the log that need no action.
    """

    app: AppIdentity
    listen: Listen
    log_level: str
    storage: Path | None
    hpb_url: str
    internal_secret: Secret
    backend_url: str
    verify_certificates: bool
    modal: ModalConfig | None
    moshi: MoshiConfig | None
    default_language: str
    model_directory: Path | None
    stt_order: tuple[str, ...] = ENGINES
    fallback: bool = True
    languages: tuple[str, ...] = ()
    frame_ms: int = 80
    gate: bool = True
    prewarm: bool = True
    max_speakers: int = 500
    max_calls: int = 500
    max_memory_mb: int = 0
    problems: tuple[ConfigurationError, ...] = ()
    blocking: tuple[ConfigurationError, ...] = ()
    notices: tuple[str, ...] = ()

    def engine_config(self) -> EngineConfig | ConfigurationError:
        """The engine's settings, or the one error that names all that is missing."""
        if self.blocking:
            return ConfigurationError(
                ", ".join(problem.setting for problem in self.blocking), " ".join(str(problem) for problem in self.blocking)
            )
        return EngineConfig(
            hpb=HpbConfig(
                url=self.hpb_url,
                internal_secret=self.internal_secret,
                backend_url=self.backend_url,
                verify_certificates=self.verify_certificates,
            ),
            default_language=self.default_language,
            languages=self.languages,
            audio=AudioConfig(frame_ms=self.frame_ms, gate=self.gate),
            stt=SttConfig(
                embedded=EmbeddedConfig(model_directory=self.model_directory),
                modal=self.modal,
                moshi=self.moshi,
                order=self.engines_in_use(),
                prewarm=self.prewarm,
            ),
            max_speakers=self.max_speakers,
            max_calls=self.max_calls,
            max_memory_mb=self.max_memory_mb,
        )

    def engines_in_use(self) -> tuple[str, ...]:
        """The configured engines in order; only the first one without fallback."""
        configured = {"modal": self.modal is not None, "moshi": self.moshi is not None, "embedded": True}
        engines = tuple(name for name in self.stt_order if configured[name])
        return engines if self.fallback else engines[:1]

    def secrets(self) -> tuple[Secret, ...]:
        """Secrets that must not be logged."""
        modal = (self.modal.key, self.modal.secret) if self.modal else ()
        moshi = (self.moshi.key,) if self.moshi and self.moshi.key.reveal() != PUBLIC_MOSHI_KEY else ()
        return tuple(value for value in (self.app.secret, self.internal_secret, *modal, *moshi) if value)


@dataclass(slots=True)
class _Reader:
    environment: Mapping[str, str]
    saved: Mapping[str, str]
    problems: list[ConfigurationError] = field(default_factory=list)
    blocking: list[ConfigurationError] = field(default_factory=list)

    def take(self, name: str, parse: Callable[[str], T], default: T, *, required: str = "", needed: bool = False) -> T:
        """`required`: what to do when it is missing, which is then a problem; `needed`: one that blocks the engine."""
        malformed: list[ConfigurationError] = []
        for source in (self.saved.get(key_of(name), ""), self.environment.get(name, "")):
            if not source.strip():
                continue
            try:
                value = parse(source.strip())
            except ValueError as error:
                malformed.append(ConfigurationError(name, f"{name} is malformed: {error}.", fix=required))
            else:
                self.problems.extend(malformed)
                return value
        for problem in malformed:
            self._note(problem, blocks=needed)
        if required and not malformed:
            self._note(ConfigurationError(name, f"{name} is not set.", fix=required), blocks=needed)
        return default

    def build(self, make: Callable[[], T]) -> T | None:
        """What `make` gives; None, and a problem, where it raises ConfigurationError."""
        try:
            return make()
        except ConfigurationError as error:
            self._note(error, blocks=False)
            return None

    def is_set(self, name: str) -> bool:
        return bool(self.saved.get(key_of(name), "").strip() or self.environment.get(name, "").strip())

    def _note(self, problem: ConfigurationError, *, blocks: bool) -> None:
        self.problems.append(problem)
        if blocks:
            self.blocking.append(problem)


def read_settings(environment: Mapping[str, str], saved: Mapping[str, str] | None = None) -> Settings:
    """Never raises. `saved`: values that an administrator saved, by their keys (`ex_app.settings.fields`)."""
    reader = _Reader(environment, saved or {})
    bootstrap = _Reader(environment, {}, reader.problems, reader.blocking)
    listen = _listen(bootstrap)
    # Covers only Nextcloud and the HPB. Each has its own switch, which takes precedence.
    skip_both = bootstrap.take("SKIP_CERT_VERIFY", boolean, False)
    identity = AppIdentity(
        secret=bootstrap.take(
            "APP_SECRET",
            secret,
            Secret(""),
            required="AppAPI sets it. Until then, every request except the heartbeat is refused.",
        ),
        app_id=bootstrap.take("APP_ID", token, APP_ID),
        version=bootstrap.take("APP_VERSION", token, _own_version()),
        app_api_version=bootstrap.take("AA_VERSION", token, ""),
        nextcloud_url=bootstrap.take(
            "NEXTCLOUD_URL", nextcloud_address, "", required="AppAPI sets it to Nextcloud's base address.", needed=True
        ),
        # Environment only: a saved value could only be read from Nextcloud itself.
        verify_certificates=not bootstrap.take("LT_NEXTCLOUD_SKIP_CERT_VERIFY", boolean, skip_both),
    )
    skip_hpb = reader.take("LT_SKIP_CERT_VERIFY", boolean, skip_both)
    hpb_url = reader.take(
        "LT_HPB_URL",
        hpb_address,
        "",
        required="Set it to the address of Talk's high-performance backend, such as https://cloud.example.com/standalone-signaling.",
        needed=True,
    )
    moshi = _moshi(reader)
    languages: tuple[str, ...] = reader.take("LT_LANGUAGES", known_languages, tuple[str, ...]())
    return Settings(
        app=identity,
        listen=listen,
        log_level=bootstrap.take("LOG_LEVEL", log_level, "INFO"),
        storage=bootstrap.take("APP_PERSISTENT_STORAGE", _path, None),
        hpb_url=hpb_url,
        internal_secret=reader.take(
            "LT_INTERNAL_SECRET",
            secret,
            Secret(""),
            required="Set it to the internalsecret in the section [clients] of the high-performance backend's server.conf.",
            needed=True,
        ),
        backend_url=reader.take("LT_BACKEND_URL", nextcloud_address, identity.nextcloud_url),
        verify_certificates=not skip_hpb,
        modal=_modal(reader),
        moshi=moshi,
        default_language=_default_language(reader, languages),
        languages=languages,
        stt_order=reader.take("LT_STT_ORDER", engine_order, ENGINES),
        fallback=reader.take("LT_STT_FALLBACK", boolean, True),
        frame_ms=reader.take("LT_FRAME_MS", frame_length, 80),
        gate=reader.take("LT_GATE", boolean, True),
        prewarm=reader.take("LT_PREWARM", boolean, True),
        max_speakers=reader.take("LT_MAX_SPEAKERS", speaker_count, 500),
        max_calls=reader.take("LT_MAX_CALLS", call_count, 500),
        max_memory_mb=reader.take("LT_MAX_MEMORY_MB", megabytes, 0),
        model_directory=reader.take("LT_MODEL_DIRECTORY", _path, None),
        problems=tuple(reader.problems),
        blocking=tuple(reader.blocking),
        notices=_notices(
            reader,
            _Peer("Nextcloud", identity.nextcloud_url, identity.verify_certificates),
            _Peer("the high-performance backend", hpb_url, not skip_hpb),
            _Peer("the moshi-server", moshi.stream_url if moshi else "", moshi is None or moshi.verify_certificates),
        ),
    )


def _listen(reader: _Reader) -> Listen:
    harp = reader.is_set("HP_SHARED_KEY")
    unix_socket = reader.take("HP_EXAPP_SOCK", absolute_path, Path("/tmp/exapp.sock")) if harp else None  # noqa: S108  AppAPI's own default
    port = reader.take("PORT", port_number, DEFAULT_PORT) if not reader.is_set("APP_PORT") else DEFAULT_PORT
    return Listen(
        host=reader.take("APP_HOST", token, "127.0.0.1"),
        port=reader.take("APP_PORT", port_number, port),
        unix_socket=unix_socket,
    )


def _modal(reader: _Reader) -> ModalConfig | None:
    names = ("MODAL_WORKSPACE", "MODAL_KEY", "MODAL_SECRET", "LT_MODAL_URL")
    if not any(reader.is_set(name) for name in names):
        return None
    url = reader.take("LT_MODAL_URL", stt_address, "")
    fix = "Modal needs MODAL_WORKSPACE, MODAL_KEY and MODAL_SECRET; until then speech is transcribed on this machine."
    workspace = reader.take("MODAL_WORKSPACE", modal_workspace, "", required="" if url else fix)
    key = reader.take("MODAL_KEY", modal_key, Secret(""), required="" if url else fix)
    modal = reader.take("MODAL_SECRET", modal_secret, Secret(""), required="" if url else fix)
    if not url and not (workspace and key and modal):
        return None
    anywhere = reader.take("LT_MODAL_CREDENTIALS_ANYWHERE", boolean, False)
    return reader.build(
        lambda: ModalConfig(
            workspace=workspace,
            key=key,
            secret=modal,
            url=url,
            credentials_anywhere=anywhere,
        )
    )


def _moshi(reader: _Reader) -> MoshiConfig | None:
    url = reader.take("LT_MOSHI_URL", stt_address, "")
    if not url:
        return None
    key = reader.take("LT_MOSHI_KEY", secret, Secret(PUBLIC_MOSHI_KEY))
    skip = reader.take("LT_MOSHI_SKIP_CERT_VERIFY", boolean, False)
    return reader.build(lambda: MoshiConfig(url=url, key=key, verify_certificates=not skip))


@dataclass(frozen=True, slots=True)
class _Peer:
    name: str
    url: str
    verify: bool

    @property
    def encrypted(self) -> bool:
        return self.url.lower().startswith(("https:", "wss:"))


def _notices(reader: _Reader, nextcloud: _Peer, hpb: _Peer, moshi: _Peer) -> tuple[str, ...]:
    """Notices about connections without TLS and about certificates that are not checked."""
    found: list[str] = []
    peers = (nextcloud, hpb, moshi)
    if names := [peer.name for peer in peers if peer.url and not peer.encrypted and not is_loopback(peer.url)]:
        found.append(f"Without TLS: the connection to {_listed(names)}. Anyone on the network path can read it.")
    if names := [peer.name for peer in peers if peer.encrypted and not peer.verify]:
        found.append(f"Not checked: the certificate of {_listed(names)}. Anyone on the network path can pose as that server.")
    # The HPB's switch once covered moshi-server, too. The notice names the switch that replaces it.
    if not hpb.verify and moshi.encrypted and not reader.is_set("LT_MOSHI_SKIP_CERT_VERIFY"):
        found.append(
            "The certificate of the moshi-server is checked: SKIP_CERT_VERIFY and LT_SKIP_CERT_VERIFY do not cover it. If it "
            "is self-signed, install its authority where this app runs, or set LT_MOSHI_SKIP_CERT_VERIFY to true on a test "
            "system."
        )
    return tuple(found)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _default_language(reader: _Reader, languages: tuple[str, ...]) -> str:
    chosen = reader.take("LT_DEFAULT_LANGUAGE", known_language, "en" if not languages or "en" in languages else languages[0])
    if languages and chosen not in languages:
        reader.problems.append(
            ConfigurationError(
                "LT_DEFAULT_LANGUAGE",
                "The default language is not among the languages that are offered.",
                fix="Offer it, or choose another one.",
            )
        )
        return languages[0]
    return chosen


def _path(text: str) -> Path | None:
    return absolute_path(text)


def _own_version() -> str:
    try:
        return version("live-transcription")
    except PackageNotFoundError:
        return "0"

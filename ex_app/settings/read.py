# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Read settings: a value saved by an administrator, otherwise the environment, otherwise the default.

A missing or malformed value never stops the app. It becomes a `ConfigurationError` in `problems`, and the next source applies.
An empty value counts as absent, since AppAPI passes declared variables without a value as empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from ex_app.identity import APP_ID, DEFAULT_PORT, AppIdentity, Listen
from ex_app.settings import parsers
from ex_app.settings.table import BY_VARIABLE, SECTIONS, SETTINGS, Setting, key_of
from live_transcription.config import PUBLIC_MOSHI_KEY, Device, EngineConfig
from live_transcription.errors import ConfigurationError
from live_transcription.runtime.hosts import is_loopback
from live_transcription.texts import join, template
from live_transcription.types import Secret

T = TypeVar("T")

_port = parsers.whole_number(1, 65535)
#: The messages about a value that cannot be used. Each is followed by what to enter.
MALFORMED = template("{setting} is malformed.")
MISSING = template("{setting} is not set.")
#: Without these, no call can be joined.
NEEDED = ("NEXTCLOUD_URL", "LT_HPB_URL", "LT_INTERNAL_SECRET")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, validated. `blocking`: those of the `problems` that prevent the engine from joining calls.

    `engine` is complete unless there are such problems; use `engine_config()` to start the engine. `secrets` must not be
    logged. `notices` are lines for the log that need no action.
    """

    app: AppIdentity
    listen: Listen
    log_level: str
    storage: Path | None
    engine: EngineConfig
    #: Where only the metrics and the health are served; None: nowhere.
    metrics_listen: Listen | None = None
    #: Clients that send it may read the numbers; empty: there is none.
    metrics_token: Secret = Secret("")  # noqa: RUF009  immutable
    #: Whether transcripts may be kept.
    transcripts: bool = False
    secrets: frozenset[Secret] = frozenset()
    notices: tuple[str, ...] = ()
    # Two errors are never equal, so they are left out here; `SavedSettings` compares their texts.
    problems: tuple[ConfigurationError, ...] = field(default=(), compare=False)
    blocking: tuple[ConfigurationError, ...] = field(default=(), compare=False)

    def engine_config(self) -> EngineConfig | ConfigurationError:
        """The engine's settings, or one error that names everything that is missing."""
        if self.blocking:
            return ConfigurationError(
                ", ".join(problem.setting for problem in self.blocking), join(*(problem.text for problem in self.blocking))
            )
        return self.engine


def read_settings(environment: Mapping[str, str], saved: Mapping[str, str] | None = None) -> Settings:
    """Never raises. `saved`: the values that an administrator saved, by `Setting.key`."""
    reader = _Reader(environment, saved or {})
    listen, identity = _listen(reader), _identity(reader)
    metrics_token = reader.setting(BY_VARIABLE["LT_METRICS_TOKEN"]) or Secret("")
    values = {setting.target: reader.setting(setting) for setting in SETTINGS if setting.target}
    engine = _engine(reader, {target: value for target, value in values.items() if value is not None}, identity)
    return Settings(
        app=identity,
        listen=listen,
        log_level=reader.setting(BY_VARIABLE["LOG_LEVEL"]),
        storage=reader.own("APP_PERSISTENT_STORAGE", parsers.absolute_path, None),
        engine=engine,
        metrics_listen=_metrics_listen(reader, listen),
        metrics_token=metrics_token,
        transcripts=reader.setting(BY_VARIABLE["LT_TRANSCRIPTS"]),
        secrets=frozenset(
            value
            for value in (identity.secret, metrics_token, *values.values())
            if isinstance(value, Secret) and value.reveal() not in ("", PUBLIC_MOSHI_KEY)
        ),
        notices=_notices(reader, identity, engine),
        problems=tuple(reader.problems),
        blocking=tuple(
            problem for problem in reader.problems if problem.setting in NEEDED and reader.values[problem.setting] is None
        ),
    )


class _Reader:
    """Reads each variable once, and collects `problems`. `values`: what was read, None where there is no valid value."""

    def __init__(self, environment: Mapping[str, str], saved: Mapping[str, str]) -> None:
        self.problems: list[ConfigurationError] = []
        self.values: dict[str, Any] = {}
        self._environment = environment
        self._saved = saved

    def own(self, variable: str, parse: Callable[[str], T], default: T, *, required: str = "") -> T:
        """A variable that AppAPI sets; only the environment counts."""
        value = self.values[variable] = self._parse(variable, parse, required, self._environment.get(variable, ""))
        return default if value is None else value

    def setting(self, setting: Setting) -> Any:
        """Its value, otherwise that of its alias, otherwise its own default; None if there is none."""
        if setting.variable not in self.values:
            saved = self._saved.get(setting.key, "") if setting.group != "environment" else ""
            required = setting.required if self._is_required(setting) else ""
            value = self._parse(setting.variable, setting.parse, required, saved, self._environment.get(setting.variable, ""))
            if value is None and setting.alias:
                value = self.setting(BY_VARIABLE[setting.alias])
            elif value is None and setting.own_default:
                value = setting.parse(setting.own_default)
            self.values[setting.variable] = value
        return self.values[setting.variable]

    def is_set(self, variable: str) -> bool:
        return bool(self._saved.get(key_of(variable), "").strip() or self._environment.get(variable, "").strip())

    def _is_required(self, setting: Setting) -> bool:
        """Modal's settings are required once one of them is set, unless the full address replaces them."""
        if not setting.required or not setting.target.startswith("stt.modal."):
            return bool(setting.required)
        modal = [each.variable for each in SETTINGS if each.required and each.target.startswith("stt.modal.")]
        return any(map(self.is_set, [*modal, "LT_MODAL_URL"])) and not self.setting(BY_VARIABLE["LT_MODAL_URL"])

    def _parse(self, variable: str, parse: Callable[[str], T], required: str, *texts: str) -> T | None:
        """The first valid one of `texts`. Notes those before it as malformed, and a missing value if it is `required`."""
        malformed = False
        for text in filter(None, map(str.strip, texts)):
            try:
                return parse(text)
            except parsers.Malformed as error:
                malformed = True
                self.problems.append(ConfigurationError(variable, MALFORMED, fix=error.text))
        if required and not malformed:
            self.problems.append(ConfigurationError(variable, MISSING, fix=required))
        return None


def _listen(reader: _Reader) -> Listen:
    port = DEFAULT_PORT if reader.is_set("APP_PORT") else reader.own("PORT", _port, DEFAULT_PORT)
    harp = reader.is_set("HP_SHARED_KEY")
    return Listen(
        host=reader.own("APP_HOST", parsers.token, Listen().host),
        port=reader.own("APP_PORT", _port, port),
        # The default is AppAPI's.
        unix_socket=reader.own("HP_EXAPP_SOCK", parsers.absolute_path, Path("/tmp/exapp.sock")) if harp else None,  # noqa: S108
    )


def _metrics_listen(reader: _Reader, app: Listen) -> Listen | None:
    """Never on the app's own port, where two sockets could be bound before one of them listens."""
    address = reader.setting(BY_VARIABLE["LT_METRICS_LISTEN"])
    if address is None:
        return None
    host, port = address
    if app.unix_socket is None and port == app.port:
        reader.problems.append(
            ConfigurationError(
                "LT_METRICS_LISTEN", "{setting} uses the app's own port, {port}.", fix="Choose another port.", port=str(port)
            )
        )
        return None
    return Listen(host, port)


def _identity(reader: _Reader) -> AppIdentity:
    return AppIdentity(
        secret=reader.own(
            "APP_SECRET",
            parsers.secret,
            Secret(""),
            required=template("AppAPI sets it. Until then, every request except the heartbeat is refused."),
        ),
        app_id=reader.own("APP_ID", parsers.token, APP_ID),
        version=reader.own("APP_VERSION", parsers.token, _own_version()),
        app_api_version=reader.own("AA_VERSION", parsers.token, ""),
        nextcloud_url=reader.own(
            "NEXTCLOUD_URL", parsers.nextcloud_address, "", required=template("AppAPI sets it to Nextcloud's base address.")
        ),
        verify_certificates=reader.setting(BY_VARIABLE["LT_NEXTCLOUD_SKIP_CERT_VERIFY"]),
    )


def _compute_device(text: str) -> Device:
    """AppAPI's name of the daemon's device. The engine's wheels support CUDA; with ROCM it uses the CPU."""
    return "cuda" if text.upper() == "CUDA" else "cpu"


def _own_version() -> str:
    try:
        return version("live-transcription")
    except PackageNotFoundError:
        return "0"


def _engine(reader: _Reader, values: Mapping[str, Any], identity: AppIdentity) -> EngineConfig:
    """Build the engine's configuration from values by `Setting.target`."""

    def section(name: str, **defaults: Any) -> Any:
        """One part of it; None and a problem if its values do not fit together."""
        given = {target.rpartition(".")[2]: value for target, value in values.items() if target.rpartition(".")[0] == name}
        try:
            return SECTIONS[name](**(defaults | given))
        except ConfigurationError as error:
            reader.problems.append(error)
            return None

    modal = {"stt.modal.url"} & values.keys() or {
        f"stt.modal.{name}" for name in ("workspace", "key", "secret")
    } <= values.keys()
    languages = values.get("languages", ())
    parts = {
        "hpb": section("hpb", url="", internal_secret=Secret(""), backend_url=identity.nextcloud_url),
        "audio": section("audio"),
        "stt": section(
            "stt",
            embedded=section("stt.embedded", device=reader.own("COMPUTE_DEVICE", _compute_device, "cpu"), detected=languages),
            modal=section("stt.modal") if modal else None,
            moshi=section("stt.moshi") if "stt.moshi.url" in values else None,
        ),
    }
    default = values.get("default_language", BY_VARIABLE["LT_DEFAULT_LANGUAGE"].default)
    if languages and default not in languages:
        if "default_language" in values:
            reader.problems.append(
                ConfigurationError(
                    "LT_DEFAULT_LANGUAGE",
                    "{setting} is not among {LT_LANGUAGES}.",
                    fix="Select it there, or choose another default language.",
                )
            )
        values = {**values, "default_language": languages[0]}
    engine: EngineConfig = section("", **parts)
    return engine


def _notices(reader: _Reader, identity: AppIdentity, engine: EngineConfig) -> tuple[str, ...]:
    """Warnings about connections without TLS and certificates that are not checked."""
    moshi = engine.stt.moshi
    peers = [
        ("Nextcloud", identity.nextcloud_url, identity.verify_certificates),
        ("the high-performance backend", engine.hpb.url, engine.hpb.verify_certificates),
        *([("the moshi-server", moshi.stream_url, moshi.verify_certificates)] if moshi else []),
    ]
    notices: list[str] = []
    if names := [name for name, url, _ in peers if url and not _is_encrypted(url) and not is_loopback(url)]:
        notices.append(f"Without TLS: the connection to {_listed(names)}. Anyone on the network path can read it.")
    if names := [name for name, url, verify in peers if _is_encrypted(url) and not verify]:
        notices.append(f"Not checked: the certificate of {_listed(names)}. Anyone on the network path can pose as that server.")
    # The HPB's switch once covered moshi-server, too. The notice names the switch that replaces it.
    relied_on_switch = moshi and not engine.hpb.verify_certificates and not reader.is_set("LT_MOSHI_SKIP_CERT_VERIFY")
    if moshi and relied_on_switch and _is_encrypted(moshi.stream_url):
        notices.append(
            "The certificate of the moshi-server is checked: SKIP_CERT_VERIFY and LT_SKIP_CERT_VERIFY do not cover it. If it "
            "is self-signed, install its authority where this app runs, or set LT_MOSHI_SKIP_CERT_VERIFY to true on a test "
            "system."
        )
    return tuple(notices)


def _is_encrypted(url: str) -> bool:
    return url.lower().startswith(("https:", "wss:"))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))

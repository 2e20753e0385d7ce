# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Engine settings: plain frozen values, built by `ex_app.settings.read` or by a test. Names end in their unit.

Each default is written here and nowhere else; the table of settings (`ex_app.settings.table`) reads it from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit, urlunsplit

from live_transcription.errors import ConfigurationError
from live_transcription.runtime.cores import available_cores
from live_transcription.runtime.hosts import is_host, is_loopback, is_subdomain
from live_transcription.texts import template
from live_transcription.types import Secret

#: The engines by the names that settings use, the best one first.
ENGINES = ("modal", "moshi", "embedded")
#: The key in the configuration files that moshi-server ships with.
PUBLIC_MOSHI_KEY = "public_token"

_MODAL_DOMAIN = "modal.run"
_MODAL_HOST = f"{{workspace}}--kyutai-stt-rust-kyutaisttrustservice-serve.{_MODAL_DOMAIN}"
_MODAL_PATH = "/v1/stream"
_MOSHI_PATH = "/api/asr-streaming"
_WORKSPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True)
class HpbConfig:
    """The HPB. `url`: its base or websocket URL. `backend_url`: Nextcloud's base URL in its settings.

    `verify_certificates=False` accepts any certificate of the HPB, and of no other server.
    """

    url: str
    internal_secret: Secret
    backend_url: str
    verify_certificates: bool = True


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """`frame_ms`: audio per frame sent to an engine. `gate=False`: engines get silence, too.

    `queue_s`: audio buffered per speaker while speech-to-text lags; beyond it, the oldest is dropped and counted.
    """

    frame_ms: int = 80
    queue_s: float = 10.0
    gate: bool = True


#: Where the embedded engine computes.
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class EmbeddedConfig:
    """The embedded engine. `model_directory`: a CTranslate2 Whisper model to use instead of the bundled one.

    `device`: "cuda" uses a GPU if there is one, otherwise the CPU. `slots`: concurrent decodes, by default one for each core
    that the app may use, from 2 to 8 (about 30 MB each); `threads`: cores for each. `hypothesis_interval_s`: shortest interval;
    it grows under load. `detected`: languages that an automatic language may be; empty for all.
    """

    model_directory: Path | None = None
    device: Device = "cpu"
    slots: int = field(default_factory=lambda: max(2, min(8, available_cores())))
    threads: int = 1
    hypothesis_interval_s: float = 0.5
    detected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModalConfig:
    """A Modal workspace, or the `url` of a deployment (ws, wss, http or https), which takes precedence.

    A `url` without a path gets `/v1/stream`. `key` and `secret` form a proxy auth token of the workspace. They are sent to
    subdomains of `modal.run` only, unless `credentials_anywhere` allows the host of `url`. TLS and the check of the server's
    certificate cannot be switched off; only a connection to this machine itself may go without TLS. Raises ConfigurationError.

    `minutes_per_day`: GPU minutes of a day (UTC), as the app estimates them; `max_sockets`: connections at once. 0: no limit.
    """

    workspace: str = ""
    key: Secret = Secret("")  # noqa: RUF009  immutable
    secret: Secret = Secret("")  # noqa: RUF009
    url: str = ""
    credentials_anywhere: bool = False
    open_timeout_s: float = 180.0
    rotate_after_s: float = 25 * 60.0
    minutes_per_day: int = 0
    max_sockets: int = 0

    #: Always: the connection carries key and secret, and Modal's certificates are signed by a public authority.
    verify_certificates: ClassVar[bool] = True
    #: What an administrator can do about a certificate that is not trusted.
    certificate_fix: ClassVar[str] = template("The certificate of Modal is always checked.")

    def __post_init__(self) -> None:
        if self.url:
            _check_address("LT_MODAL_URL", self.url, fix=template("Use wss://host/v1/stream."))
            if _SCHEMES[urlsplit(self.url).scheme] == "ws" and not is_loopback(self.url):
                raise ConfigurationError(
                    "LT_MODAL_URL",
                    "{setting} does not use TLS, so the key, the secret and the audio would be sent unencrypted.",
                    fix="Use wss:// instead of ws://, or https:// instead of http://.",
                )
        elif not _WORKSPACE.fullmatch(self.workspace):
            raise ConfigurationError(
                "MODAL_WORKSPACE", "{setting} is missing or malformed.", fix="Copy its name from modal.com."
            )
        _check_header("MODAL_KEY", self.key)
        _check_header("MODAL_SECRET", self.secret)

    @property
    def stream_url(self) -> str:
        """`wss://…/v1/stream`."""
        return _stream_url(self.url or f"wss://{_MODAL_HOST.format(workspace=self.workspace.lower())}", _MODAL_PATH)

    @property
    def health_url(self) -> str:
        """`https://…/health`, next to the stream."""
        return _sibling_url(self.stream_url, _MODAL_PATH, "/health")

    def headers(self) -> dict[str, str]:
        """The credentials in plain text, for the wire only; empty if they must not be sent to this host."""
        parts = urlsplit(self.stream_url)
        # Take the host as it is written, not as urlsplit reads it, so that no other parser can read it differently.
        host, colon, port = parts.netloc.partition(":")
        at_modal = parts.scheme == "wss" and is_subdomain(host, _MODAL_DOMAIN) and (not colon or port.isdigit())
        if not (self.key and self.secret and (at_modal or self.credentials_anywhere)):
            return {}
        return {"Modal-Key": self.key.reveal(), "Modal-Secret": self.secret.reveal()}


@dataclass(frozen=True, slots=True)
class MoshiConfig:
    """A moshi-server. `url`: ws, wss, http or https; without a path it gets `/api/asr-streaming`. Raises ConfigurationError.

    `verify_certificates=False` accepts any certificate of this server, and of no other.
    """

    url: str
    key: Secret = Secret(PUBLIC_MOSHI_KEY)  # noqa: RUF009
    verify_certificates: bool = True
    open_timeout_s: float = 10.0

    #: The switch for test systems.
    certificate_fix: ClassVar[str] = template("On a test system you can switch on {LT_MOSHI_SKIP_CERT_VERIFY}.")

    def __post_init__(self) -> None:
        _check_address("LT_MOSHI_URL", self.url, fix=template("Use wss://host, or ws://host:8080 in your own network."))
        _check_header("LT_MOSHI_KEY", self.key)

    @property
    def stream_url(self) -> str:
        """`wss://…/api/asr-streaming`."""
        return _stream_url(self.url, _MOSHI_PATH)

    def headers(self) -> dict[str, str]:
        """The key in plain text, for the wire only."""
        return {"kyutai-api-key": self.key.reveal()} if self.key else {}


@dataclass(frozen=True, slots=True)
class SttConfig:
    """`order`: the engines that may be used, the preferred one first. `fallback=False`: only the first one configured.

    `prewarm=False`: engines start at the first word instead of when a call is joined.
    `ring_s`: audio buffered per speaker while a remote engine starts or is unreachable, 120 s at most. `patience_s`: how long
    a speaker waits for a remote engine before the next engine takes over.
    """

    embedded: EmbeddedConfig | None = field(default_factory=EmbeddedConfig)
    modal: ModalConfig | None = None
    moshi: MoshiConfig | None = None
    ring_s: float = 120.0
    patience_s: float = 15.0
    order: tuple[str, ...] = ENGINES
    fallback: bool = True
    prewarm: bool = True

    @property
    def in_use(self) -> tuple[str, ...]:
        """The configured engines in order; without fallback only the first one."""
        configured = {"modal": self.modal, "moshi": self.moshi, "embedded": self.embedded}
        engines = tuple(name for name in self.order if configured[name] is not None)
        return engines if self.fallback else engines[:1]


#: Maximum number of masked terms, and of characters and words of a term.
MASKED_TERMS, MASKED_CHARS, MASKED_WORDS = 1000, 60, 8


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """All settings of the service. `languages`: languages to offer; empty for all. `translation`: offer translated captions.
    `masked_words`: pairs of a language, or "" for all, and a term that captions show as asterisks.

    `max_speakers`, `max_calls`: concurrent speech-to-text streams and calls. `max_memory_mb`: memory limit in MB, 0 for none;
    above a share of it (`capacity.admission`), no streams are added.
    """

    hpb: HpbConfig
    default_language: str = "en"
    audio: AudioConfig = field(default_factory=AudioConfig)
    stt: SttConfig = field(default_factory=SttConfig)
    languages: tuple[str, ...] = ()
    translation: bool = True
    masked_words: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    max_speakers: int = 500
    max_calls: int = 500
    max_memory_mb: int = 0
    no_target_linger_s: float = 60.0


def _check_address(setting: str, url: str, *, fix: str) -> None:
    """Raise ConfigurationError unless `url` is the address of a speech-to-text server."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in _SCHEMES and parts.port != 0 and "@" not in parts.netloc and is_host(parts.hostname or "")
    except ValueError:
        valid = False
    if not valid or not url.isprintable() or any(character.isspace() for character in url):
        raise ConfigurationError(setting, "{setting} is malformed.", fix=fix)


def _check_header(setting: str, value: Secret) -> None:
    """Raise ConfigurationError if the value, unless empty, cannot be sent in an HTTP header."""
    if value and not _HEADER_VALUE.fullmatch(value.reveal()):
        raise ConfigurationError(
            setting, "{setting} contains spaces or other characters that are not allowed.", fix="Copy it again."
        )


def _stream_url(url: str, default_path: str) -> str:
    """The websocket address of a stream."""
    parts = urlsplit(url)
    path = parts.path if parts.path.strip("/") else default_path
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def _sibling_url(stream_url: str, stream_path: str, path: str) -> str:
    """The HTTP address of `path` on the server of a stream, below the same prefix if the stream has its usual path."""
    parts = urlsplit(stream_url)
    prefix = parts.path.removesuffix(stream_path).rstrip("/") if parts.path.endswith(stream_path) else ""
    return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, prefix + path, "", ""))

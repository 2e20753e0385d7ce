# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Where the speech-to-text servers are, and with which credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from live_transcription.errors import ConfigurationError
from live_transcription.runtime.hosts import is_host, is_loopback, is_subdomain
from live_transcription.types import Secret

_MODAL_DOMAIN = "modal.run"
_MODAL_HOST = f"{{workspace}}--kyutai-stt-rust-kyutaisttrustservice-serve.{_MODAL_DOMAIN}"
_MODAL_PATH = "/v1/stream"
_MOSHI_PATH = "/api/asr-streaming"
_WORKSPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")
_NONE = Secret("")
#: What moshi-server's configuration files come with.
PUBLIC_MOSHI_KEY = "public_token"
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


def _address_problem(url: str) -> str:
    """What is wrong with a server's address, as a whole sentence; "" if nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "The address is malformed."
    odd = not url.isprintable() or any(character.isspace() for character in url)
    if odd or parts.scheme not in _SCHEMES or port == 0 or "@" in parts.netloc or not is_host(parts.hostname or ""):
        return "The address is malformed."
    return ""


@dataclass(frozen=True, slots=True)
class ModalConfig:
    """A Modal workspace, or the `url` of a deployment (ws, wss, http or https), which takes precedence.

    A `url` without a path gets `/v1/stream`. `key`, `secret`: a proxy auth token of the workspace. They are sent to subdomains
    of `modal.run` only, unless `credentials_anywhere` allows the host of `url`. TLS and the check of the server's certificate
    cannot be switched off; only a connection to this machine itself may be without TLS. Raises ConfigurationError.
    """

    workspace: str = ""
    key: Secret = _NONE
    secret: Secret = _NONE
    url: str = ""
    credentials_anywhere: bool = False
    open_timeout_s: float = 180.0
    rotate_after_s: float = 25 * 60.0

    def __post_init__(self) -> None:
        if self.url:
            if problem := _address_problem(self.url):
                raise ConfigurationError("LT_MODAL_URL", problem, fix="Use wss://host/v1/stream.")
            if _SCHEMES[urlsplit(self.url).scheme] == "ws" and not is_loopback(self.url):
                raise ConfigurationError(
                    "LT_MODAL_URL",
                    "The address has no TLS, so that key, secret and audio would be sent unencrypted.",
                    fix="Use wss:// instead of ws://, or https:// instead of http://.",
                )
        elif not _WORKSPACE.fullmatch(self.workspace):
            raise ConfigurationError(
                "MODAL_WORKSPACE", "The Modal workspace is missing or malformed.", fix="Copy its name from modal.com."
            )
        for setting, value in (("MODAL_KEY", self.key), ("MODAL_SECRET", self.secret)):
            if value and not _HEADER_VALUE.fullmatch(value.reveal()):
                raise ConfigurationError(setting, "It holds white space or characters that no token has.", fix="Copy it again.")

    @property
    def verify_certificates(self) -> bool:
        """Always True: the connection carries key and secret, and Modal's certificates are signed by a public authority."""
        return True

    @property
    def certificate_fix(self) -> str:
        return "The certificate of Modal is always checked."

    @property
    def stream_url(self) -> str:
        """`wss://…/v1/stream`."""
        if not self.url:
            return f"wss://{_MODAL_HOST.format(workspace=self.workspace.lower())}{_MODAL_PATH}"
        parts = urlsplit(self.url)
        path = parts.path if parts.path.strip("/") else _MODAL_PATH
        return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))

    @property
    def health_url(self) -> str:
        """`https://…/health` beside the stream."""
        parts = urlsplit(self.stream_url)
        path = parts.path.removesuffix(_MODAL_PATH).rstrip("/") + "/health" if parts.path.endswith(_MODAL_PATH) else "/health"
        return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, path, "", ""))

    def headers(self) -> dict[str, str]:
        """The credentials, in the clear, for the wire only; empty where they must not go."""
        parts = urlsplit(self.stream_url)
        # The host as it is written, not as urlsplit reads it, so that no other parser can read it differently.
        host, colon, port = parts.netloc.partition(":")
        at_modal = parts.scheme == "wss" and is_subdomain(host, _MODAL_DOMAIN) and (not colon or port.isdigit())
        if not (self.key and self.secret and (at_modal or self.credentials_anywhere)):
            return {}
        return {"Modal-Key": self.key.reveal(), "Modal-Secret": self.secret.reveal()}


@dataclass(frozen=True, slots=True)
class MoshiConfig:
    """`url`: ws, wss, http or https; without a path it gets `/api/asr-streaming`. Raises ConfigurationError.

    `verify_certificates=False` accepts any certificate of this server, and of no other.
    """

    url: str
    key: Secret = Secret(PUBLIC_MOSHI_KEY)  # noqa: RUF009  it is immutable
    verify_certificates: bool = True
    open_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if problem := _address_problem(self.url):
            raise ConfigurationError("LT_MOSHI_URL", problem, fix="Use wss://host, or ws://host:8080 in a network of your own.")
        if self.key and not _HEADER_VALUE.fullmatch(self.key.reveal()):
            raise ConfigurationError(
                "LT_MOSHI_KEY", "It holds white space or characters that no key has.", fix="Copy it again."
            )

    @property
    def stream_url(self) -> str:
        parts = urlsplit(self.url)
        path = parts.path if parts.path.strip("/") else _MOSHI_PATH
        return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))

    @property
    def certificate_fix(self) -> str:
        """The switch for test systems, as labelled on the settings page."""
        return "On a test system you can switch on “moshi-server: accept any certificate”."

    @property
    def modules_url(self) -> str:
        """The address where the server reports its used and total slots."""
        parts = urlsplit(self.stream_url)
        prefix = parts.path.removesuffix(_MOSHI_PATH) if parts.path.endswith(_MOSHI_PATH) else ""
        return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, f"{prefix}/api/modules_info", "", ""))

    def headers(self) -> dict[str, str]:
        """The key, in the clear, for the wire only."""
        return {"kyutai-api-key": self.key.reveal()} if self.key else {}

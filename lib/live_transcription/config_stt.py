# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Where the speech-to-text servers are, and with which credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from live_transcription.errors import ConfigurationError
from live_transcription.types import Secret

_MODAL_HOST = "{workspace}--kyutai-stt-rust-kyutaisttrustservice-serve.modal.run"
_MODAL_PATH = "/v1/stream"
_MOSHI_PATH = "/api/asr-streaming"
_WORKSPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")
_NONE = Secret("")
#: What moshi-server's configuration files come with.
PUBLIC_MOSHI_KEY = "public_token"
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True)
class ModalConfig:
    """`workspace` or `url` (ws, wss, http or https; it wins; without a path it gets `/v1/stream`); raises ConfigurationError.

    `key`, `secret`: a proxy auth token of the workspace. They are sent to `*.modal.run` over TLS only, unless
    `credentials_anywhere` says that the host of `url` may have them as well.
    """

    workspace: str = ""
    key: Secret = _NONE
    secret: Secret = _NONE
    url: str = ""
    credentials_anywhere: bool = False
    verify_certificates: bool = True
    open_timeout_s: float = 180.0
    rotate_after_s: float = 25 * 60.0

    def __post_init__(self) -> None:
        if self.url:
            parts = urlsplit(self.url)
            if parts.scheme not in _SCHEMES or not parts.hostname or "@" in parts.netloc:
                raise ConfigurationError(
                    "LT_MODAL_URL", "The URL of the speech-to-text server is malformed.", fix="Use wss://host/v1/stream."
                )
        elif not _WORKSPACE.fullmatch(self.workspace):
            raise ConfigurationError(
                "MODAL_WORKSPACE", "The Modal workspace is missing or malformed.", fix="Copy its name from modal.com."
            )
        for setting, value in (("MODAL_KEY", self.key), ("MODAL_SECRET", self.secret)):
            if value and not _HEADER_VALUE.fullmatch(value.reveal()):
                raise ConfigurationError(setting, "It holds white space or characters that no token has.", fix="Copy it again.")

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
        at_modal = parts.scheme == "wss" and (parts.hostname or "").endswith(".modal.run")
        if not (self.key and self.secret and (at_modal or self.credentials_anywhere)):
            return {}
        return {"Modal-Key": self.key.reveal(), "Modal-Secret": self.secret.reveal()}


@dataclass(frozen=True, slots=True)
class MoshiConfig:
    """`url`: ws, wss, http or https; without a path it gets `/api/asr-streaming`. Raises ConfigurationError."""

    url: str
    key: Secret = Secret(PUBLIC_MOSHI_KEY)  # noqa: RUF009  it is immutable
    verify_certificates: bool = True
    open_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in _SCHEMES or not parts.hostname or "@" in parts.netloc:
            raise ConfigurationError("LT_MOSHI_URL", "The URL of the moshi-server is malformed.", fix="Use ws://host:8080.")
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
    def modules_url(self) -> str:
        """Where the server tells its used and total slots."""
        parts = urlsplit(self.stream_url)
        prefix = parts.path.removesuffix(_MOSHI_PATH) if parts.path.endswith(_MOSHI_PATH) else ""
        return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, f"{prefix}/api/modules_info", "", ""))

    def headers(self) -> dict[str, str]:
        """The key, in the clear, for the wire only."""
        return {"kyutai-api-key": self.key.reveal()} if self.key else {}

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Where an administrator's own moshi-server is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from live_transcription.errors import ConfigurationError
from live_transcription.types import Secret

_STREAM_PATH = "/api/asr-streaming"
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
#: What moshi-server's configuration files come with.
_PUBLIC_KEY = Secret("public_token")


@dataclass(frozen=True, slots=True)
class MoshiConfig:
    """`url`: ws, wss, http or https; without a path it gets `/api/asr-streaming`. Raises ConfigurationError."""

    url: str
    key: Secret = _PUBLIC_KEY
    verify_certificates: bool = True
    open_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in _SCHEMES or not parts.hostname or "@" in parts.netloc:
            raise ConfigurationError("MOSHI_URL", "The URL of the moshi-server is malformed.", fix="Use ws://host:8080.")
        if self.key and not _HEADER_VALUE.fullmatch(self.key.reveal()):
            raise ConfigurationError("MOSHI_KEY", "It holds white space or characters that no key has.", fix="Copy it again.")

    @property
    def stream_url(self) -> str:
        parts = urlsplit(self.url)
        path = parts.path if parts.path.strip("/") else _STREAM_PATH
        return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))

    @property
    def modules_url(self) -> str:
        """Where the server tells its used and total slots."""
        parts = urlsplit(self.stream_url)
        prefix = parts.path.removesuffix(_STREAM_PATH) if parts.path.endswith(_STREAM_PATH) else ""
        return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, f"{prefix}/api/modules_info", "", ""))

    def headers(self) -> dict[str, str]:
        """The key, in the clear, for the wire only."""
        return {"kyutai-api-key": self.key.reveal()} if self.key else {}

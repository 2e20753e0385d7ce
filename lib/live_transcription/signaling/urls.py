# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Converts the addresses of the HPB and Nextcloud, as administrators enter them, into those of the protocol. Pure."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit, urlunsplit

from live_transcription.errors import ConfigurationError
from live_transcription.texts import template

_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_SIGNALING_FIX = template("Enter an address such as https://cloud.example.com/standalone-signaling.")
_BACKEND_FIX = template("Enter the base address of the Nextcloud server, such as https://cloud.example.com.")


def websocket_url(url: str, *, setting: str = "LT_HPB_URL") -> str:
    """The address of the HPB's websocket: scheme `ws` or `wss`, path `…/spreed`, no query and no fragment.

    Accepts http(s) and ws(s) addresses, with or without `/standalone-signaling`, a trailing `/spreed` or a slash. Raises
    ConfigurationError, which names `setting`.
    """
    parts = _split(setting, url, tuple(_WEBSOCKET_SCHEMES), _SIGNALING_FIX)
    path = parts.path.rstrip("/").removesuffix("/spreed").rstrip("/")
    return urlunsplit((_WEBSOCKET_SCHEMES[parts.scheme], parts.netloc, f"{path}/spreed", "", ""))


def backend_base_url(url: str, *, setting: str = "NEXTCLOUD_URL") -> str:
    """Nextcloud's base address with one trailing slash.

    The HPB appends the path of the OCS API itself, so a given one is removed. Raises ConfigurationError, which names `setting`.
    """
    parts = _split(setting, url, ("http", "https"), _BACKEND_FIX)
    path = parts.path.partition("/ocs/v2.php/")[0].rstrip("/").removesuffix("/index.php")
    return urlunsplit((parts.scheme, parts.netloc, f"{path}/", "", ""))


def _split(setting: str, url: str, schemes: tuple[str, ...], fix: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ConfigurationError(setting, "{setting} is not a valid address.", fix=fix) from None
    if parts.scheme not in schemes:
        raise ConfigurationError(
            setting, "{setting} does not start with one of {schemes}.", fix=fix, schemes=", ".join(schemes)
        )
    if not parts.hostname or port == 0 or any(character.isspace() for character in parts.netloc + parts.path):
        raise ConfigurationError(setting, "{setting} has no valid host.", fix=fix)
    return parts

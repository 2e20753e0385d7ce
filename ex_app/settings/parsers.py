# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Text to typed setting. Each function raises ValueError with a reason that can be shown and never holds the value itself."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from live_transcription.config import ENGINES, RECEIVE_PATHS, ReceivePath
from live_transcription.languages import LANGUAGES
from live_transcription.runtime.hosts import is_host
from live_transcription.types import Secret

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_LOG_LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


def boolean(text: str) -> bool:
    word = text.lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError("enter true or false")


def port_number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    raise ValueError("enter a port number between 1 and 65535")


def log_level(text: str) -> str:
    level = {"WARN": "WARNING", "TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(text.upper(), text.upper())
    if level in _LOG_LEVELS:
        return level
    raise ValueError("enter DEBUG, INFO, WARNING, ERROR or CRITICAL")


def token(text: str) -> str:
    """A name, version, host or the like: printable ASCII without white space."""
    if len(text) <= 255 and re.fullmatch(r"[\x21-\x7e]+", text):
        return text
    raise ValueError("use printable ASCII characters only, without spaces")


def secret(text: str) -> Secret:
    if len(text) > 4096 or not text.isprintable() or any(character.isspace() for character in text):
        raise ValueError("it contains white space or unprintable characters")
    return Secret(text)


def hpb_address(text: str) -> str:
    """http, https, ws or wss; with or without a path."""
    return _address(text, {"http", "https", "ws", "wss"})


def nextcloud_address(text: str) -> str:
    """The base address, without `/index.php`."""
    return _address(text, {"http", "https"}).removesuffix("/index.php")


def known_language(text: str) -> str:
    if text in LANGUAGES:
        return text
    raise ValueError("enter the code of a language that can be transcribed, such as en or fr")


def known_languages(text: str) -> tuple[str, ...]:
    """Codes with commas between them, in any order."""
    codes = [code.strip() for code in text.split(",") if code.strip()]
    if not all(code in LANGUAGES for code in codes):
        raise ValueError("enter codes of languages that can be transcribed, with commas between them, such as en,fr")
    return tuple(code for code in LANGUAGES if code in codes)


def engine_order(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if not names or len(set(names)) != len(names) or not all(name in ENGINES for name in names):
        raise ValueError("enter some of modal, moshi and embedded, each once, with commas between them")
    return names


def frame_length(text: str) -> int:
    if text in ("80", "200"):
        return int(text)
    raise ValueError("enter 80 or 200")


def receive_path(text: str) -> ReceivePath:
    for path in RECEIVE_PATHS:
        if text.lower() == path:
            return path
    raise ValueError("enter direct or stock")


def speaker_count(text: str) -> int:
    return _whole_number(text, 1, 10_000)


def call_count(text: str) -> int:
    return _whole_number(text, 1, 10_000)


def megabytes(text: str) -> int:
    """0: no limit."""
    number = _whole_number(text, 0, 1_048_576)
    if 0 < number < 256:
        raise ValueError("enter 0 for no limit, or 256 and more; the app itself takes about that")
    return number


def _whole_number(text: str, lowest: int, highest: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 9 and lowest <= int(text) <= highest:
        return int(text)
    raise ValueError(f"enter a whole number from {lowest} to {highest}")


def absolute_path(text: str) -> Path:
    if "\0" in text or len(text) > 4096 or not Path(text).is_absolute():
        raise ValueError("enter an absolute path")
    return Path(text)


def stt_address(text: str) -> str:
    return _address(text, {"http", "https", "ws", "wss"})


def modal_workspace(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text):
        return text
    raise ValueError("enter the workspace's name: letters, digits, hyphens")


def modal_key(text: str) -> Secret:
    if text.startswith("ws-"):
        raise ValueError("this is a secret (ws-…); enter the key (wk-…)")
    return secret(text)


def modal_secret(text: str) -> Secret:
    if text.startswith("wk-"):
        raise ValueError("this is a key (wk-…); enter the secret (ws-…)")
    return secret(text)


def _address(text: str, schemes: set[str]) -> str:
    kinds = ", ".join(sorted(schemes))
    if len(text) > 2048 or not text.isprintable() or any(character.isspace() for character in text):
        raise ValueError("it contains white space or unprintable characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("it is not a valid address (URL)") from None
    if parts.scheme.lower() not in schemes or not parts.netloc:
        raise ValueError(f"enter an address that starts with one of {kinds} and ://")
    if "@" in parts.netloc:
        raise ValueError("it must not contain a user name or password")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("it must not contain ? or #")
    if port == 0 or not is_host(parts.hostname or ""):
        raise ValueError("it names no host")
    return text.rstrip("/")

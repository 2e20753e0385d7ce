# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Parsers of settings: each takes stripped text and returns a value, or raises Malformed.

The message says what to enter, in whole sentences, and never contains the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from live_transcription.config import ENGINES, MASKED_CHARS, MASKED_TERMS, MASKED_WORDS
from live_transcription.languages import CHOICES, LANGUAGES
from live_transcription.runtime.hosts import is_host
from live_transcription.texts import Text, Value
from live_transcription.types import Secret

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_LOG_LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


class Malformed(ValueError):
    """`text`: what to enter instead, for the page and the log."""

    def __init__(self, template: str, **values: Value) -> None:
        self.text = Text(template, **values)
        super().__init__(self.text)


def boolean(text: str) -> bool:
    word = text.lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise Malformed("Enter true or false.")


def verification(text: str) -> bool:
    """Whether to check certificates, from a switch that accepts any certificate when on."""
    return not boolean(text)


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """The parser of whole numbers in this range."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= 9 and lowest <= int(text) <= highest:
            return int(text)
        raise Malformed("Enter a whole number from {lowest} to {highest}.", lowest=lowest, highest=highest)

    return parse


def megabytes(text: str) -> int:
    """0 means no limit."""
    number = whole_number(0, 1_048_576)(text)
    if 0 < number < 256:
        raise Malformed("Enter 0 for no limit, or at least 256. The app alone needs about that much.")
    return number


def frame_length(text: str) -> int:
    if text in ("80", "200"):
        return int(text)
    raise Malformed("Enter 80 or 200.")


def log_level(text: str) -> str:
    level = {"WARN": "WARNING", "TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(text.upper(), text.upper())
    if level in _LOG_LEVELS:
        return level
    raise Malformed("Enter debug, info, warning, error or critical.")


def token(text: str) -> str:
    """A name, version or host: printable ASCII without spaces."""
    if len(text) <= 255 and re.fullmatch(r"[\x21-\x7e]+", text):
        return text
    raise Malformed("Use printable ASCII characters only, without spaces.")


def metrics_token(text: str) -> Secret:
    """ASCII, since it arrives in an HTTP header, and too long to guess."""
    if re.fullmatch(r"[\x21-\x7e]{16,255}", text):
        return Secret(text)
    raise Malformed("Enter 16 to 255 printable ASCII characters, without spaces.")


def listening_address(text: str) -> tuple[str, int]:
    """Host and port. An empty host means all addresses; an IPv6 address is in brackets."""
    found = re.fullmatch(r"(?:\[(?P<ipv6>[^\[\]]*:[^\[\]]*)\]|(?P<name>[^:\[\]]*)):(?P<port>[0-9]{1,5})", text)
    host = (found["ipv6"] or found["name"] or "") if found else ""
    if found is None or not (host == "" or is_host(host)) or not 0 < int(found["port"]) < 65_536:
        raise Malformed("Enter host:port, such as 127.0.0.1:9464, [::1]:9464 or :9464 for all addresses.")
    return host, int(found["port"])


def absolute_path(text: str) -> Path:
    if "\0" in text or len(text) > 4096 or not Path(text).is_absolute():
        raise Malformed("Enter an absolute path, such as {example}.", example="/models/whisper-small")
    return Path(text)


def language(text: str) -> str:
    if text in CHOICES:
        return text
    raise Malformed("Enter the code of a supported language, such as en or fr.")


def masked_words(text: str) -> tuple[tuple[str, str], ...]:
    """`en: damn; fr: zut, flûte; word of all languages` as pairs of a language, or "", and a term."""
    found: dict[tuple[str, str], None] = {}
    for part in re.split(r"[;\n]", text):
        code, colon, terms = part.rpartition(":")
        code = code.strip().lower()
        if colon and code not in LANGUAGES:
            raise Malformed("Begin each list with the code of a language and a colon, such as en: or fr:.")
        for term in filter(None, map(str.strip, terms.split(","))):
            words = re.findall(r"\w+", term)
            if not words or len(words) > MASKED_WORDS or len(term) > MASKED_CHARS:
                raise Malformed("Use words and short terms, separated by commas.")
            found[code, term] = None
    if len(found) > MASKED_TERMS:
        raise Malformed("Enter at most {number} words.", number=MASKED_TERMS)
    return tuple(found)


def languages(text: str) -> tuple[str, ...]:
    """Codes separated by commas, in any order."""
    codes = [code.strip() for code in text.split(",") if code.strip()]
    if not all(code in CHOICES for code in codes):
        raise Malformed("Enter codes of supported languages, separated by commas, such as en,fr.")
    return tuple(code for code in CHOICES if code in codes)


def engine_order(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if not names or len(set(names)) != len(names) or not all(name in ENGINES for name in names):
        raise Malformed("Select at least one engine: modal, moshi, embedded, separated by commas.")
    return names


def secret(text: str) -> Secret:
    if len(text) > 4096 or not _is_one_word(text):
        raise Malformed("It contains spaces or unprintable characters. Copy it again.")
    return Secret(text)


def modal_key(text: str) -> Secret:
    if text.startswith("ws-"):
        raise Malformed("This is a secret (ws-…). Enter the key (wk-…).")
    return secret(text)


def modal_secret(text: str) -> Secret:
    if text.startswith("wk-"):
        raise Malformed("This is a key (wk-…). Enter the secret (ws-…).")
    return secret(text)


def modal_workspace(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text):
        return text
    raise Malformed("Enter the workspace's name: letters, digits, hyphens.")


def server_address(example: str) -> Callable[[str], str]:
    """The parser of addresses with http, https, ws or wss, with or without a path."""

    def parse(text: str) -> str:
        return _address(text, {"http", "https", "ws", "wss"}, example)

    return parse


def nextcloud_address(text: str) -> str:
    """Nextcloud's base address, without `/index.php`."""
    return _address(text, {"http", "https"}, "https://cloud.example.com").removesuffix("/index.php")


def _address(text: str, schemes: set[str], example: str) -> str:
    if len(text) > 2048 or not _is_one_word(text):
        raise Malformed("It contains spaces or unprintable characters. Copy it again.")
    malformed = Malformed("Enter an address such as {example}.", example=example)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise malformed from None
    if parts.scheme.lower() not in schemes or not parts.netloc:
        raise malformed
    if "@" in parts.netloc:
        raise Malformed("Enter the address without a user name and password.")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise Malformed("Enter the address without ? and #.")
    if port == 0 or not is_host(parts.hostname or ""):
        raise malformed
    return text.rstrip("/")


def _is_one_word(text: str) -> bool:
    return text.isprintable() and not any(character.isspace() for character in text)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Structured logs: one JSON object per line on standard output.

Captions, names and secrets are never logged. Callers must not pass captions or names. Secrets that still get into a line,
through a library's message or a traceback, are replaced by asterisks here, in every encoding in which they are sent. Repeated
lines are limited (`log_limit`).
"""

from __future__ import annotations

import base64
import json
import logging
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import quote

from live_transcription.observability.log_limit import RepeatFilter, extra_of, message_of
from live_transcription.types import Secret

STARS = "***"
#: Shorter secrets are not replaced, since they may be parts of ordinary words.
_SHORTEST_SECRET = 6
_LONGEST_TEXT = 20_000

#: Libraries that would log frames, headers or every packet, and the lowest level that they may log at.
_QUIET = {
    "aiortc": logging.WARNING,
    "aiortc.rtcrtpreceiver": logging.ERROR,  # a warning for each packet that cannot be decoded
    "aioice": logging.WARNING,
    "asyncio": logging.WARNING,
    "faster_whisper": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "libav": logging.ERROR,
    "multipart": logging.WARNING,
    "niquests": logging.WARNING,
    "urllib3": logging.ERROR,
    "urllib3_future": logging.ERROR,
    "uvicorn.access": logging.WARNING,
    "uvicorn.error": logging.INFO,
    "websockets": logging.INFO,
}


class Redactor:
    """Replaces known secrets in text by asterisks."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._forms: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        """Replace this secret from now on: as it is, percent-encoded, hexadecimal, quoted, and within base64."""
        text = secret.reveal()
        if len(text) < _SHORTEST_SECRET:
            return
        forms = {
            text,
            quote(text, safe=""),
            text.encode().hex(),
            repr(text)[1:-1],
            json.dumps(text)[1:-1],
            *_within_base64(text),
        }
        self._forms = sorted({*self._forms, *forms}, key=len, reverse=True)

    def redact(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, STARS)
        return text


class JsonFormatter(logging.Formatter):
    """`time` (ISO 8601, UTC), `level`, `logger`, `message`, each `extra` field, and `exception` where there is one."""

    def __init__(self, redactor: Redactor | None = None) -> None:
        super().__init__()
        self._redactor = redactor or Redactor()

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._clean(message_of(record)),
        }
        for key, value in extra_of(record).items():
            if key not in line:
                line[key] = value if value is None or isinstance(value, bool | int | float) else self._clean(str(value))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self._clean(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)

    def _clean(self, text: str) -> str:
        text = self._redactor.redact(text)
        return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def configure_logging(level: str, secrets: Iterable[Secret] = (), *, stream: TextIO | None = None) -> Redactor:
    """Write all logs of the process to `stream` (standard output) as JSON lines, from `level` up.

    Replaces the earlier configuration. Returns the redactor, so that later secrets can be added.
    """
    redactor = Redactor(secrets)
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter(redactor))
    handler.addFilter(RepeatFilter(handler, time.monotonic))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, lowest in _QUIET.items():
        logging.getLogger(name).setLevel(max(lowest, root.level))
    logging.captureWarnings(True)
    return redactor


def _within_base64(text: str) -> set[str]:
    """The characters of base64 that depend on this text alone, for each of the three positions that it can have."""
    raw = text.encode()
    forms: set[str] = set()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        first = (0, 2, 3)[shift]
        last = len(encoded) - (1 if (shift + len(raw)) % 3 else 0)
        core = encoded[first:last]
        if len(core) >= _SHORTEST_SECRET:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    return forms

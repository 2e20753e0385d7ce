# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Logs: one JSON object per line, without secrets."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.observability.logging import JsonFormatter, Redactor, configure_logging
from live_transcription.types import Secret

SECRET = 'wk-"secret" /+ü'


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("websockets", "uvicorn.access", "aiortc")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    logging.captureWarnings(False)


@pytest.fixture
def lines(restored_logging: None) -> io.StringIO:
    stream = io.StringIO()
    configure_logging("info", [Secret(SECRET)], stream=stream)
    return stream


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_object_per_line_with_extra_fields(lines: io.StringIO) -> None:
    logging.getLogger("live_transcription.call").info("two\nlines %d", 2, extra={"room": "abc", "count": 3, "level": "no"})
    logging.getLogger("live_transcription.call").debug("not at this level")
    (line,) = parsed(lines)
    assert line["message"] == "two\nlines 2"
    assert (line["level"], line["logger"], line["room"], line["count"]) == ("info", "live_transcription.call", "abc", 3)
    assert line["time"].endswith("+00:00")


def test_secrets_are_starred_out_wherever_they_stand(lines: io.StringIO) -> None:
    logger = logging.getLogger("x")
    logger.info("token %s", SECRET, extra={"header": f"Bearer {SECRET}", "nested": {"key": SECRET}})
    try:
        {}[SECRET]
    except KeyError:
        logger.exception("failed")
    for prefix in ("", "u", "us", "user:"):
        logger.info("basic %s", base64.b64encode(f"{prefix}{SECRET}".encode()).decode())
    text = lines.getvalue()
    assert "wk-" not in text
    assert base64.b64encode(SECRET.encode()).decode()[4:-4] not in text
    assert text.count("***") >= 8


@given(st.text("abcdefXYZ0123456789+/-_:", min_size=12, max_size=40), st.binary(max_size=7), st.binary(max_size=7))
def test_no_base64_that_holds_a_secret_can_be_decoded_to_it(secret: str, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    assert encoded.replace("=", "") not in Redactor([Secret(secret)]).redact(f"Basic {encoded}")


def test_a_broken_message_costs_its_arguments_only() -> None:
    record = logging.makeLogRecord({"msg": "%d items", "args": ("many",), "levelname": "INFO"})
    assert json.loads(JsonFormatter().format(record))["message"] == "%d items"


def test_libraries_never_log_frames_or_requests_even_at_debug(restored_logging: None) -> None:
    stream = io.StringIO()
    configure_logging("DEBUG", stream=stream)
    logging.getLogger("websockets.client").debug("> TEXT what somebody said")
    logging.getLogger("uvicorn.access").info("GET /")
    logging.getLogger("live_transcription.x").debug("ours")
    assert [line["message"] for line in parsed(stream)] == ["ours"]


def test_very_short_secrets_star_out_nothing() -> None:
    assert Redactor([Secret(""), Secret("a")]).redact("a cat") == "a cat"


def test_very_long_messages_are_cut() -> None:
    record = logging.makeLogRecord({"msg": "x" * 100_000, "levelname": "INFO"})
    assert len(JsonFormatter().format(record)) < 21_000

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Repeated log lines are limited and counted."""

from __future__ import annotations

import io
import logging
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from live_transcription.observability import metrics
from live_transcription.observability.log_limit import (
    EQUAL_LINES,
    INTERVAL_S,
    LINES_OF_A_PLACE,
    TRACEBACKS_OF_A_PLACE,
    LogLimit,
    RepeatFilter,
)
from live_transcription.observability.logging import JsonFormatter


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Log:
    logger: logging.Logger
    stream: io.StringIO
    clock: Clock

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def log() -> Iterator[Log]:
    stream, clock = io.StringIO(), Clock()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RepeatFilter(handler, clock))
    logger = logging.getLogger("tests.log_limit")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield Log(logger, stream, clock)
    logger.removeHandler(handler)


def suppressed(level: str) -> float:
    return metrics.registry.get_sample_value("live_transcription_log_lines_suppressed_total", {"level": level}) or 0.0


def test_a_limit_allows_one_line_per_interval_and_counts_the_others() -> None:
    clock = Clock()
    limit = LogLimit(60.0, clock)
    assert [limit.permit("stun") for _ in range(4)] == [0, None, None, None]
    assert limit.permit("other") == 0, "each key has its own line"
    clock.now = 59.9
    assert limit.permit("stun") is None
    clock.now = 60.0
    assert limit.permit("stun") == 4
    assert limit.permit("stun") is None


def test_a_limit_remembers_a_bounded_number_of_keys() -> None:
    limit = LogLimit(60.0, Clock())
    tracemalloc.start()
    try:
        for number in range(20_000):
            limit.permit(number)
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


def test_equal_lines_are_written_a_few_times_and_then_counted(log: Log) -> None:
    before = suppressed("error")
    for _ in range(10_000):
        log.logger.error("socket.accept() out of system resource")
    assert len(log.lines()) == EQUAL_LINES
    assert suppressed("error") - before == 10_000 - EQUAL_LINES
    log.clock.now = INTERVAL_S
    log.logger.info("something else")
    assert f'"Repeated {10_000 - EQUAL_LINES} times: socket.accept() out of system resource"' in log.lines()[EQUAL_LINES]
    assert '"level": "error"' in log.lines()[EQUAL_LINES]
    assert len(log.lines()) == EQUAL_LINES + 2
    log.logger.error("socket.accept() out of system resource")
    assert len(log.lines()) == EQUAL_LINES + 3, "a new minute"


def test_lines_with_changing_arguments_are_limited_per_place(log: Log) -> None:
    for number in range(10_000):
        log.logger.warning("Lost the audio of %d", number)
    assert len(log.lines()) == LINES_OF_A_PLACE
    log.logger.warning("Another line")
    assert len(log.lines()) == LINES_OF_A_PLACE + 1, "other lines are not delayed"


def test_equal_texts_about_different_rooms_are_different_lines(log: Log) -> None:
    for number in range(20):
        for _ in range(10):
            log.logger.info("The call was ended for all", extra={"room": f"room-{number}"})
        log.clock.now += 5
    assert len({line for line in log.lines() if "Repeated" not in line and "ended for all" in line}) >= 20


def test_tracebacks_are_limited_more(log: Log) -> None:
    for number in range(1000):
        log.logger.error("It failed", exc_info=ValueError(number))
    assert len(log.lines()) == TRACEBACKS_OF_A_PLACE


def test_lines_that_differ_are_all_written(log: Log) -> None:
    for number in range(40):
        log.logger.info("New settings are applied", extra={"calls": number})
        log.logger.info("%s", f"line {number}")
        log.clock.now += 20
    assert len(log.lines()) == 80


def test_debug_lines_are_limited_less(log: Log) -> None:
    for number in range(LINES_OF_A_PLACE * 5):
        log.logger.debug("Packet %d", number)
    assert len(log.lines()) == LINES_OF_A_PLACE * 5

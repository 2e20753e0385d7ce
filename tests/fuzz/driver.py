# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Runs a harness over many cases, and checks limits of time, memory and log as well as the absence of exceptions.

Case number n of a harness depends on the seed and on n alone. Time is CPU time of this thread: a busy machine fails nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
#: Cases until caches and pools have their size.
_WARM_UP = 200
#: The event loop's other callbacks have their turn this often.
_TURN = 50


class Harness:
    """One surface. `case` makes an input, `feed` gives it to the product and raises whatever must not happen."""

    name: str
    #: Limits: CPU seconds of one input, growth of the resident memory in MB, octets of log (level INFO) per 1,000 cases.
    cpu_s = 0.1
    growth_mb = 32.0
    log_octets = 10_000
    #: Cases in CI, which take some three seconds.
    short = 2_000

    def case(self, random: Random) -> Any:
        raise NotImplementedError

    async def feed(self, case: Any) -> None:
        raise NotImplementedError

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What has to be there while cases are fed. Checks at its end what they have left."""
        yield


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to. `cases` per second of CPU time, `cpu_s` of the dearest input."""

    name: str
    cases: int
    seed: int
    cpu_s: float
    mean_us: float
    growth_mb: float
    log_octets: int

    def row(self) -> str:
        figures = f"{self.cpu_s * 1e3:>12.1f}{self.mean_us:>12.0f}{self.growth_mb:>10.1f}{self.log_octets:>12}"
        return f"{self.name:<22}{self.cases:>9}{figures}"


HEAD = f"{'surface':<22}{'cases':>9}{'worst ms':>12}{'mean us':>12}{'RSS MB':>10}{'log octets':>12}"


class Found(AssertionError):
    """A case that did what none may do. Says which one, and how to run it again."""


class _CountingHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.octets = 0
        self.tracebacks = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.octets += len(record.getMessage().encode("utf-8", "replace")) + 150
        self.tracebacks += record.exc_info is not None


async def run(harness: Harness, cases: int, seed: int, start: int = 0) -> Report:
    """Raises Found at the first case that goes wrong, or when a limit is exceeded."""
    log = _CountingHandler()
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    loggers = [logging.getLogger(name) for name in ("live_transcription", "ex_app", "asyncio")]
    levels = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addHandler(log)
        logger.setLevel(logging.INFO)
    report: Report | Found
    try:
        async with harness.running():
            try:
                report = await _run(harness, cases, seed, start, log, failures)
            except Found as found:  # what runs meanwhile ends in order first
                report = found
    finally:
        for logger, level in levels:
            logger.removeHandler(log)
            logger.setLevel(level)
    if isinstance(report, Found):
        raise report
    return report


async def _run(
    harness: Harness, cases: int, seed: int, start: int, log: _CountingHandler, failures: list[dict[str, Any]]
) -> Report:
    worst, total, memory = 0.0, 0.0, 0.0
    for index in range(start, start + cases):
        case = harness.case(Random(f"{harness.name}:{seed}:{index}"))
        again = f"make fuzz ONLY={harness.name} SEED={seed} START={index} CASES=1"
        try:
            taken = await _timed(harness, case)
            if taken > harness.cpu_s:  # once more, since the garbage collector may have had its turn
                taken = await _timed(harness, case)
        except Exception as error:
            raise Found(f"{type(error).__name__}: {error}\n{again}\n{case!r:.2000}") from error
        worst, total = max(worst, taken), total + taken
        if index % _TURN == 0:
            await asyncio.sleep(0)
        if failures or log.tracebacks:
            raise Found(f"An exception reached the event loop or the log: {failures[:1]}\n{again}\n{case!r:.2000}")
        if taken > harness.cpu_s:
            raise Found(f"{taken * 1e3:.0f} ms of CPU for one input\n{again}\n{case!r:.2000}")
        if index - start == min(_WARM_UP, cases // 2):
            memory = _resident_mb()
    growth = _resident_mb() - memory
    if growth > harness.growth_mb:
        raise Found(f"{harness.name}: the memory has grown by {growth:.0f} MB in {cases} cases (seed {seed})")
    if log.octets > 2_000 + harness.log_octets * cases / 1_000:
        raise Found(f"{harness.name}: {log.octets} octets of log in {cases} cases (seed {seed})")
    return Report(harness.name, cases, seed, worst, total / max(1, cases) * 1e6, growth, log.octets)


async def _timed(harness: Harness, case: Any) -> float:
    began = time.thread_time()
    await harness.feed(case)
    return time.thread_time() - began


def _resident_mb() -> float:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE_MB

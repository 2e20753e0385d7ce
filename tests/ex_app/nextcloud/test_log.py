# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Lines for Nextcloud's log: logging never waits, and secrets are redacted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest

from ex_app.nextcloud.log import QUEUE, NextcloudLog
from live_transcription.observability.logging import Redactor
from live_transcription.types import Secret
from tests.ex_app.fakes import FakeNextcloud


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("live_transcription.test_nextcloud_log")
    yield logger
    logger.handlers.clear()


async def until(condition: Callable[[], bool], log: NextcloudLog) -> None:
    task = asyncio.create_task(log.run())
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)
    task.cancel()


async def test_warnings_are_redacted_and_sent_after_an_outage(logger: logging.Logger) -> None:
    nextcloud = FakeNextcloud(failures=2)
    waits: list[float] = []

    async def sleep(delay: float) -> None:
        waits.append(delay)
        await asyncio.sleep(0)

    log = NextcloudLog(nextcloud, Redactor([Secret("a-long-secret")]), sleep=sleep)
    logger.addHandler(log)
    logger.info("not this")
    logger.warning("refused with a-long-secret")
    logger.error("worse")
    logging.getLogger("niquests").addHandler(log)
    logging.getLogger("niquests").error("a complaint about logging")
    logging.getLogger("niquests").removeHandler(log)
    await until(lambda: len(nextcloud.lines) == 2, log)
    name = "live_transcription.test_nextcloud_log"
    assert nextcloud.lines == [(2, f"{name}: refused with ***"), (3, f"{name}: worse")]
    assert waits[:2] == [30.0, 30.0]


async def test_the_buffer_is_bounded_and_logging_never_waits(logger: logging.Logger) -> None:
    log = NextcloudLog(FakeNextcloud(failures=10**6), Redactor())
    logger.addHandler(log)
    for number in range(QUEUE + 50):
        logger.warning("line %d", number)
    assert log.dropped == 50

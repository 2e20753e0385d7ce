# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Time limits within a task that has been cancelled, with every Python that we run on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import live_transcription  # noqa: F401  mends them
from sandbox import virtual_clock


def ends_by(cleanup: Callable[[], Awaitable[None]], *, again_after_s: float | None = None) -> list[str]:
    """What the clean-up of a task tells that is cancelled, and perhaps cancelled once more."""
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            try:
                await cleanup()
            except BaseException as error:
                told.append(type(error).__name__)
                raise
            told.append("done")

    async def run() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(1)
        task.cancel()
        if again_after_s is not None:
            await asyncio.sleep(again_after_s)
            task.cancel()
        await asyncio.wait([task])
        told.append("cancelled" if task.cancelled() else type(task.exception()).__name__)

    virtual_clock.run(run())
    return told


async def too_long() -> None:
    async with asyncio.timeout(1):
        await asyncio.sleep(2)


async def given_up() -> None:
    try:
        await too_long()
    except TimeoutError:
        return


async def nested() -> None:
    async with asyncio.timeout(5):
        await given_up()


async def soon_enough() -> None:
    async with asyncio.timeout(1):
        await asyncio.sleep(0.5)


def test_a_time_limit_in_a_cleanup_ends_in_timeout_error() -> None:
    assert ends_by(too_long) == ["TimeoutError", "TimeoutError"]


def test_the_cleanup_goes_on_after_it_and_the_task_counts_as_cancelled() -> None:
    for cleanup in (given_up, nested, soon_enough):
        assert ends_by(cleanup) == ["done", "cancelled"]


def test_another_cancellation_before_the_limit_is_one() -> None:
    assert ends_by(given_up, again_after_s=0.5) == ["CancelledError", "cancelled"]

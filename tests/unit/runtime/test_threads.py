# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Pools start their threads before the first job."""

from __future__ import annotations

import asyncio
import threading

import pytest

from live_transcription.runtime.threads import new_event_loop, started_threads
from live_transcription.stt.embedded.pool import DecodePool, Priority


@pytest.fixture
def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    return monkeypatch


def test_all_threads_run_before_the_first_job() -> None:
    before = threading.active_count()
    with started_threads(3, "test"):
        assert threading.active_count() == before + 3
    assert threading.active_count() == before


def test_without_memory_the_pool_has_as_many_threads_as_could_be_started(
    no_more_threads: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    executor = started_threads(3, "test")
    assert "Not all threads could be started" in caplog.text
    no_more_threads.undo()
    executor.shutdown()


def test_jobs_of_the_loop_need_no_new_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> list[int]:
        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fail)
        try:
            return await asyncio.gather(*(asyncio.to_thread(abs, -number) for number in range(20)))
        finally:
            monkeypatch.undo()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(work()) == list(range(20))


async def test_decodes_need_no_new_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = DecodePool(2, 0.5)

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", fail)
        jobs = [pool.run(number, Priority.FINAL, lambda number=number: lambda: number) for number in range(5)]  # type: ignore[misc]
        assert await asyncio.gather(*jobs) == list(range(5))
    await pool.aclose()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import asyncio
import logging

import pytest

from live_transcription.errors import SttUnavailable
from live_transcription.stt.resilient.backend import ResilientBackend
from live_transcription.stt.resilient.retry import REMIND_S, RetryLog
from sandbox.virtual_clock import run
from tests.fakes.stt_counts import SttCounts
from tests.unit.stt.kyutai.kyutai_model import KyutaiModel, speech


def test_an_outage_is_logged_once_with_reminders_that_count_the_other_failures() -> None:
    log = RetryLog()
    assert log.worked() is None
    assert log.failed("stt_unavailable", 0.0) == 0
    assert [log.failed("stt_unavailable", 1.0 + n) for n in range(5)] == [None] * 5
    assert log.failed("stt_at_capacity", 10.0) == 5
    assert log.failed("stt_unavailable", REMIND_S[0]) == 0
    assert log.worked() == 0
    assert log.worked() is None


def test_an_unstable_server_does_not_fill_the_log() -> None:
    log = RetryLog()
    lines = 0
    for n in range(600):
        lines += log.failed("stt_unavailable", n / 10) is not None
        lines += log.worked() is not None
    assert lines <= 2 * (60 / REMIND_S[1] + 1)


def test_a_hundred_speakers_with_a_dead_server_log_one_line(caplog: pytest.LogCaptureFixture) -> None:
    counts = SttCounts()
    caplog.set_level(logging.INFO, logger="live_transcription")

    async def scenario() -> None:
        model = KyutaiModel(failure=lambda now: SttUnavailable("down") if now < 120 else None)
        backend = ResilientBackend(model)

        async def speak() -> None:
            async with backend.open_stream("en") as stream:
                await stream.send(speech(0, 1, frames_per_word=1)[0])
                await stream.flush()
                async for _ in stream.events():
                    return

        async with asyncio.TaskGroup() as tasks:
            for _ in range(100):
                tasks.create_task(speak())
        assert counts.failures["stt_unavailable"] > 500

    run(scenario())
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "down" in lines[0]
    assert "works again" in lines[1]


def test_each_message_of_an_outage_is_logged_and_their_number_is_bounded() -> None:
    log = RetryLog()
    assert log.failed("The connection broke.", 0.0) is not None
    assert log.failed("The server cannot be reached.", 1.0) is not None
    assert log.failed("The connection broke.", 2.0) is None
    for number in range(1000):
        log.failed(f"reason {number}", 3.0)
    assert log.failed("The connection broke.", 4.0) is not None, "forgotten"

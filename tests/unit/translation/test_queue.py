# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The provider's queue: fair between calls, bounded, and patient with a provider that fails."""

from __future__ import annotations

from live_transcription.translation.queue import FAILURES, MAX_IN_FLIGHT, RETRY_S, FairQueue, ProviderHealth


def yes() -> bool:
    return True


def test_calls_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(3):
        queue.add("busy", f"busy {number}", yes)
    queue.add("quiet", "quiet 0", yes)
    assert [queue.start() for _ in range(5)] == ["busy 0", "quiet 0", "busy 1", "busy 2", None]


def test_no_more_than_the_maximum_are_under_way() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(MAX_IN_FLIGHT + 2):
        queue.add("call", number, yes)
    assert sum(queue.start() is not None for _ in range(100)) == MAX_IN_FLIGHT
    queue.end()
    assert queue.start() == MAX_IN_FLIGHT
    assert len(queue) == 1


def test_a_job_that_nobody_wants_any_more_is_skipped() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("call", "late", lambda: False)
    queue.add("call", "wanted", yes)
    assert queue.start() == "wanted"
    assert queue.start() is None
    assert queue.in_flight == 1


def test_a_failing_provider_gets_one_request_now_and_then() -> None:
    health = ProviderHealth()
    for _ in range(FAILURES - 1):
        health.failed(10.0)
    assert health.allows(10.0)
    assert not health.failing
    health.failed(10.0)
    assert health.failing
    assert not health.allows(10.1)
    assert health.allows(10.0 + RETRY_S)
    assert not health.allows(10.1 + RETRY_S)
    health.succeeded()
    assert health.allows(10.2 + RETRY_S)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from random import Random

from live_transcription.errors import SttAtCapacity
from live_transcription.stt.fallback.health import FULL_S, PROBE_S, STALE_S, BackendHealth, State

FULL = SttAtCapacity("This machine can transcribe 4 speakers at the same time.")


def test_the_cpu_that_refuses_a_speaker_has_room_again_soon_and_needs_no_trial() -> None:
    health = BackendHealth("whisper", Random(1), remote=False)
    health.succeeded(0.0)
    assert health.failed(FULL, 10.0)
    assert not health.usable("another", 10.0 + FULL_S - 0.1)
    report = health.report(10.0)
    assert (report.state, report.code) == ("full", "stt_at_capacity")
    later = 10.0 + FULL_S
    health.reserve("one", later)
    assert health.usable("one", later)
    assert health.usable("another", later)
    report = health.report(later)
    assert (report.state, report.code) == ("up", "")


def test_of_many_refusals_of_the_cpu_one_is_worth_a_message() -> None:
    health = BackendHealth("whisper", Random(1), remote=False)
    assert sum(health.failed(FULL, 10.0 + each) for each in range(100)) == 1


def test_a_full_server_is_passed_over_until_it_answers_a_probe() -> None:
    health = BackendHealth("moshi", Random(1))
    health.failed(FULL, 10.0)
    assert not health.usable("another", 10.0 + FULL_S)
    health.answered()
    health.reserve("one", 30.0)
    assert health.usable("one", 30.0)
    assert not health.usable("another", 30.0)
    assert health.state(30.0) is State.UP
    assert STALE_S > PROBE_S[1] > FULL_S

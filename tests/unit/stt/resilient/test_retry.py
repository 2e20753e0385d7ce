# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

from random import Random

import pytest

from live_transcription.errors import (
    SttAtCapacity,
    SttError,
    SttExpired,
    SttModelError,
    SttProtocolError,
    SttRefused,
    SttStalled,
    SttStarting,
    SttUnavailable,
)
from live_transcription.stt.resilient.retry import retry_delay_s

RETRIED = [SttUnavailable, SttAtCapacity, SttProtocolError, SttExpired]


def delays(error: SttError, failures: int, *, worked: bool = False) -> list[float | None]:
    return [retry_delay_s(error, failures, worked, Random(seed)) for seed in range(200)]


@pytest.mark.parametrize("kind", [SttRefused, SttModelError])
def test_an_error_that_an_administrator_must_repair_is_not_retried(kind: type[SttError]) -> None:
    assert set(delays(kind("no"), 1)) == set(delays(kind("no"), 9, worked=True)) == {None}


@pytest.mark.parametrize("kind", RETRIED)
@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 0.5, 1), (2, 1, 2), (3, 2, 4), (4, 4, 8), (5, 8, 16), (6, 15, 20), (60, 15, 20)]
)
def test_waits_grow_with_jitter_up_to_a_maximum(kind: type[SttError], failures: int, least: float, most: float) -> None:
    waits = delays(kind("again"), failures)
    assert all(wait is not None and least <= wait <= most for wait in waits)
    assert len(set(waits)) > 100


def test_a_session_that_worked_is_replaced_at_once() -> None:
    assert set(delays(SttExpired("limit"), 0, worked=True)) == {0.0}
    assert all(wait is not None and wait <= 0.25 for wait in delays(SttUnavailable("broke"), 0, worked=True))


@pytest.mark.parametrize("kind", [SttStarting, SttStalled])
def test_a_starting_server_is_tried_at_short_intervals(kind: type[SttError]) -> None:
    assert all(wait is not None and 1.5 <= wait <= 3 for failures in (1, 5, 50) for wait in delays(kind("wait"), failures))

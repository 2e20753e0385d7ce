# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

from __future__ import annotations

import math

from live_transcription.errors import SttDeaf, SttRepeating, SttSlow
from live_transcription.stt.fallback.attempts import (
    NO_ALTERNATIVE_S,
    REMEMBER_S,
    REOPENING_S,
    WORDLESS,
    Attempts,
    Outcome,
)
from live_transcription.stt.fallback.stream_health import SUSPECTED_DEAF, SUSPECTED_SLOW, Patience

DEAF, SLOW, REPEATING = SttDeaf("deaf"), SttSlow("slow"), SttRepeating("again")


def test_the_second_problem_within_a_minute_is_a_failure_and_the_backend_is_avoided_for_a_minute() -> None:
    attempts = Attempts(2)
    assert attempts.problem(0, REPEATING, 10.0, alone=False) is Outcome.AGAIN
    assert not attempts.avoids(0, 10.0)
    assert attempts.problem(0, REPEATING, 20.0, alone=False) is Outcome.FAILED
    assert attempts.avoids(0, 20.0 + REMEMBER_S - 1)
    assert not attempts.avoids(0, 20.0 + REMEMBER_S)
    assert not attempts.avoids(1, 20.0)
    assert attempts.problem(0, REPEATING, 20.0 + REMEMBER_S, alone=False) is Outcome.AGAIN


def test_a_replaced_connection_is_judged_sooner_by_what_was_wrong_before() -> None:
    attempts = Attempts(2)
    assert attempts.patience(0, 0.0) == Patience()
    attempts.problem(0, DEAF, 0.0, alone=False)
    assert attempts.patience(0, 1.0) == SUSPECTED_DEAF
    assert attempts.patience(0, REMEMBER_S) == attempts.patience(1, 1.0) == Patience()
    attempts.problem(1, SLOW, 0.0, alone=False)
    assert attempts.patience(1, 1.0) == SUSPECTED_SLOW


def test_a_backend_that_is_tried_after_a_failure_has_one_connection() -> None:
    assert Attempts(2).problem(0, DEAF, 0.0, alone=False, trial=True) is Outcome.FAILED


def test_speech_without_words_for_any_backend_has_none() -> None:
    attempts = Attempts(2)
    attempts.problem(0, DEAF, 0.0, alone=False)
    assert attempts.problem(0, DEAF, 5.0, alone=False) is Outcome.FAILED
    assert attempts.problem(1, DEAF, 20.0, alone=True) is Outcome.WORDLESS
    assert attempts.acquit() == [0]
    assert not attempts.avoids(0, 20.0)
    assert attempts.patience(0, 20.0) == attempts.patience(1, 20.0) == WORDLESS
    attempts.word()
    assert attempts.patience(0, 20.0) == Patience()


def test_words_of_the_next_backend_prove_that_the_first_one_was_deaf() -> None:
    attempts = Attempts(2)
    attempts.problem(0, DEAF, 0.0, alone=False)
    attempts.problem(0, DEAF, 5.0, alone=False)
    attempts.word()
    assert attempts.problem(1, DEAF, 30.0, alone=True) is Outcome.AGAIN
    assert attempts.avoids(0, 30.0)


def test_the_last_backend_is_tolerated() -> None:
    attempts = Attempts(1)
    attempts.problem(0, SLOW, 0.0, alone=True)
    assert attempts.problem(0, SLOW, 5.0, alone=True) is Outcome.FAILED
    assert attempts.patience(0, 5.0 + NO_ALTERNATIVE_S - 1).lag_s == math.inf
    assert attempts.patience(0, 5.0 + NO_ALTERNATIVE_S) == Patience()
    # A problem that continues is no new one: it is judged by the longer time for as long as it lasts.
    assert attempts.problem(0, DEAF, 200.0, alone=True) is Outcome.FAILED
    assert attempts.patience(0, 200.0 + NO_ALTERNATIVE_S - 1).lag_s == math.inf


def test_a_stream_is_reopened_sooner_by_another_backend() -> None:
    attempts = Attempts(2)
    assert attempts.opening_s(0, 15.0, 0.0) == 15.0
    attempts.broke(0, 0.0)
    assert attempts.opening_s(0, 15.0, 1.0) == REOPENING_S
    assert attempts.opening_s(0, 3.0, 1.0) == 3.0
    assert attempts.opening_s(0, 15.0, REMEMBER_S) == attempts.opening_s(1, 15.0, 1.0) == 15.0

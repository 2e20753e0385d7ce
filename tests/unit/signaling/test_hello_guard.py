# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Who may say hello, so that the HPB never locks us out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingRefused
from live_transcription.signaling.hello_guard import (
    MAX_FAILURES,
    RETRY_AFTER_S,
    UNANSWERED_PACE_S,
    WINDOW_S,
    HelloAttempt,
    HelloGuard,
    Wait,
    hello_token,
)
from live_transcription.signaling.refusals import UNCOUNTED, hello_refusal
from live_transcription.types import Secret
from sandbox.hpb.throttle import ATTEMPTS, Throttle

CONFIG = HpbConfig("wss://signaling.example.com", Secret("one"), "https://cloud.example.com")
OTHER_SECRET = HpbConfig("wss://signaling.example.com", Secret("two"), "https://cloud.example.com")


def refusal(code: str = "invalid_token") -> SignalingRefused:
    error = hello_refusal(code, CONFIG.backend_url)
    assert error is not None
    return error


def attempt(
    guard: HelloGuard, now: float = 0.0, config: HpbConfig = CONFIG, *, lost_at: float | None = None, urgent: bool = False
) -> HelloAttempt:
    leave = guard.ask(config, now, lost_at=lost_at, urgent=urgent)
    assert isinstance(leave, HelloAttempt)
    return leave


def wait(guard: HelloGuard, now: float, config: HpbConfig = CONFIG, *, urgent: bool = False) -> Wait:
    leave = guard.ask(config, now, urgent=urgent)
    assert isinstance(leave, Wait)
    assert leave == guard.obstacle(config, now, urgent=urgent) or leave.refusal is not None
    return leave


def test_the_token_of_the_servers_documentation() -> None:
    """The example under "Backend requests" in standalone-signaling-api-v1: random and body, one after the other."""
    random = "afb6b872ab03e3376b31bf0af601067222ff7990335ca02d327071b73c0119c6"
    body = '{"type":"auth","auth":{"version":"1.0","params":{"hello":"world"}}}'
    token = "3c4a69ff328299803ac2879614b707c807b4758cf19450755c60656cac46e3bc"
    assert hello_token(Secret("MySecretValue"), random + body) == token


def test_one_hello_at_a_time_until_the_credential_works() -> None:
    guard = HelloGuard()
    first = attempt(guard)
    assert wait(guard, 0.0) == Wait()
    guard.accepted(first, 0.1)
    assert not attempt(guard).patient
    attempt(guard)


def test_an_attempt_without_an_outcome_makes_way_for_the_next() -> None:
    guard = HelloGuard()
    first = attempt(guard)
    guard.abandoned(first, 1.0)
    guard.abandoned(first, 1.0)
    assert wait(guard, 1.0) == Wait(until=UNANSWERED_PACE_S)
    attempt(guard, UNANSWERED_PACE_S)
    assert wait(guard, UNANSWERED_PACE_S).refusal is None


@pytest.mark.parametrize("code", ["invalid_token", "invalid_backend", "invalid_client_type", "too_many_requests"])
def test_a_refusal_is_remembered_and_tried_again_once_every_five_minutes(code: str) -> None:
    guard = HelloGuard()
    now = 10.0
    guard.refused(attempt(guard, now), refusal(code), now)
    for _ in range(3):
        for later in (now, now + RETRY_AFTER_S - 1):
            remembered = wait(guard, later)
            assert remembered.until == now + RETRY_AFTER_S
            assert remembered.refusal is not None
            assert (remembered.refusal.reason, remembered.refusal.fix) == (code, refusal(code).fix)
            assert guard.refusal(CONFIG, later) is not None
        now += RETRY_AFTER_S
        assert guard.refusal(CONFIG, now) is None
        again = attempt(guard, now)
        assert again.patient, "the HPB may hold a refusal back for 25 s"
        meanwhile = wait(guard, now)
        assert meanwhile.until is None
        assert meanwhile.refusal is not None, "who asks now learns the likely cause"
        guard.refused(again, refusal(code), now)
    guard.accepted(attempt(guard, now + RETRY_AFTER_S), now + RETRY_AFTER_S)
    assert guard.refusal(CONFIG, now + RETRY_AFTER_S) is None
    attempt(guard, now + RETRY_AFTER_S)


def test_another_credential_starts_fresh_but_counts_at_the_same_backend() -> None:
    guard = HelloGuard()
    for number in range(MAX_FAILURES):
        config = replace(CONFIG, internal_secret=Secret(f"secret-{number}"))
        guard.refused(attempt(guard, float(number), config), refusal(), float(number))
    blocked = wait(guard, 100.0, OTHER_SECRET)
    assert blocked.refusal is not None
    assert blocked.refusal.reason == "too_many_tries"
    assert "in 29 minutes" in blocked.refusal.fix
    assert blocked.until == WINDOW_S
    attempt(guard, 100.0, replace(CONFIG, url="wss://another.example.com"))
    attempt(guard, WINDOW_S, OTHER_SECRET)


def test_an_administrator_who_tests_need_not_wait_and_ends_the_waiting_of_calls() -> None:
    guard = HelloGuard()
    heard: list[str] = []
    guard.add_listener(lambda: heard.append("ask again"))
    guard.refused(attempt(guard), refusal(), 0.0)
    wait(guard, 10.0)
    test = attempt(guard, 10.0, urgent=True)
    assert wait(guard, 10.0, urgent=True).until is None, "one at a time"
    guard.refused(test, refusal(), 10.0)
    assert wait(guard, RETRY_AFTER_S + 5).until == RETRY_AFTER_S + 10, "the calls need not try so soon"
    for number in range(MAX_FAILURES - 2):
        guard.refused(attempt(guard, 20.0 + number, urgent=True), refusal(), 20.0 + number)
    last = wait(guard, 60.0, urgent=True)
    assert last.refusal is not None
    assert last.refusal.reason == "too_many_tries"
    guard.accepted(attempt(guard, WINDOW_S, urgent=True), WINDOW_S)
    heard.clear()
    attempt(guard, WINDOW_S)
    attempt(guard, WINDOW_S)


def test_a_session_that_the_server_forgot_puts_the_credential_in_doubt_until_a_hello_is_accepted() -> None:
    guard = HelloGuard()
    guard.accepted(attempt(guard), 0.1)
    trial = attempt(guard, 2.0, lost_at=1.0)
    assert not trial.patient, "it has worked: silence means that the backend is away"
    assert isinstance(guard.ask(CONFIG, 2.0, lost_at=1.0), Wait)
    assert isinstance(guard.ask(CONFIG, 2.0), Wait)
    guard.accepted(trial, 2.1)
    for _ in range(3):
        attempt(guard, 2.2, lost_at=1.0)
    guard = HelloGuard()
    guard.accepted(attempt(guard), 0.1)
    guard.refused(attempt(guard, 2.0, lost_at=1.0), refusal(), 2.0)
    assert isinstance(guard.ask(CONFIG, 2.0, lost_at=1.0), Wait)


def test_a_backend_that_answers_no_hello_is_tried_on_but_patiently_in_the_end() -> None:
    guard = HelloGuard()
    guard.accepted(attempt(guard), 0.0)
    patience = []
    for now in range(10, 110, 10):
        trial = attempt(guard, float(now), lost_at=5.0)
        patience.append(trial.patient)
        guard.abandoned(trial, now + 4.0)
    assert patience == [False] * 7 + [True] * 3


def test_hellos_that_were_never_sent_do_not_count() -> None:
    guard = HelloGuard()
    for _ in range(2 * MAX_FAILURES):
        guard.abandoned(attempt(guard), 0.0, sent=False)
    attempt(guard)


def test_those_who_wait_hear_of_every_outcome() -> None:
    guard = HelloGuard()
    heard: list[str] = []

    def listener() -> None:
        heard.append("asked again")

    guard.add_listener(listener)
    guard.abandoned(attempt(guard), 0.0)
    guard.accepted(attempt(guard, 10.0), 10.0)
    guard.refused(attempt(guard, 10.0), refusal(), 10.0)
    assert len(heard) == 3
    guard.remove_listener(listener)
    guard.accepted(attempt(guard, 10.0 + RETRY_AFTER_S), 10.0 + RETRY_AFTER_S)
    assert len(heard) == 3


def test_credentials_are_forgotten_in_order_of_use() -> None:
    guard = HelloGuard()
    guard.refused(attempt(guard), refusal(), 0.0)
    for number in range(20):
        attempt(guard, 0.0, HpbConfig(f"wss://{number}.example.com", Secret("x"), "https://cloud.example.com"))
    attempt(guard, 1.0)


requests = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.floats(0.0, 400.0), st.booleans()), max_size=120)


@given(requests)
def test_whatever_is_saved_and_tested_a_backend_that_refuses_every_secret_never_locks_us_out(
    asked: list[tuple[int, bool, float, bool]],
) -> None:
    """Calls, tests and saved secrets in any order, against the HPB's own rule."""
    guard, throttle, now = HelloGuard(), Throttle(), 0.0
    for secret, urgent, passes_s, answered in asked:
        now += passes_s
        leave = guard.ask(replace(CONFIG, internal_secret=Secret(f"secret-{secret}")), now, urgent=urgent)
        if isinstance(leave, Wait):
            continue
        assert not throttle.blocked("here", "HelloInternal", now)
        throttle.failed("here", "HelloInternal", now)
        if answered:
            guard.refused(leave, refusal(), now)
        else:
            guard.abandoned(leave, now)
    assert not throttle.blocked("here", "HelloInternal", now)
    assert MAX_FAILURES < ATTEMPTS


def test_answers_that_the_server_does_not_count() -> None:
    guard = HelloGuard()
    for number in range(3 * MAX_FAILURES):
        for code in ("too_many_requests", "invalid_client_type", "invalid_format"):
            assert code in UNCOUNTED
            guard.refused(attempt(guard, float(number), urgent=True), refusal(code), float(number))

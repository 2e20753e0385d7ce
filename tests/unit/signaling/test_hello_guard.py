# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When a hello may be sent, so that the HPB never locks the app out."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingRefused
from live_transcription.signaling.diagnosis import UNCOUNTED, hello_refusal
from live_transcription.signaling.hello_guard import (
    MAX_FAILURES,
    RETRY_AFTER_S,
    SAME_FAILURES,
    UNANSWERED_INTERVAL_S,
    WINDOW_S,
    HelloAttempt,
    HelloGuard,
    Wait,
)
from live_transcription.signaling.requests import hello_token
from live_transcription.types import Secret
from sandbox import virtual_clock
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


def test_the_token_equals_the_one_in_the_servers_documentation() -> None:
    """The example under "Backend requests" in standalone-signaling-api-v1: random and body, one after the other."""
    random = "afb6b872ab03e3376b31bf0af601067222ff7990335ca02d327071b73c0119c6"
    body = '{"type":"auth","auth":{"version":"1.0","params":{"hello":"world"}}}'
    token = "3c4a69ff328299803ac2879614b707c807b4758cf19450755c60656cac46e3bc"
    assert hello_token(Secret("MySecretValue"), random + body) == token


def test_one_hello_at_a_time_until_the_credential_works() -> None:
    guard = HelloGuard()
    first = attempt(guard)
    assert wait(guard, 0.0) == Wait()
    guard.settle(first, 0.1, accepted=True)
    assert not attempt(guard).patient
    attempt(guard)


def test_an_attempt_without_an_outcome_is_followed_by_the_next() -> None:
    guard = HelloGuard()
    first = attempt(guard)
    guard.settle(first, 1.0)
    guard.settle(first, 1.0)
    assert wait(guard, 1.0) == Wait(until=UNANSWERED_INTERVAL_S)
    attempt(guard, UNANSWERED_INTERVAL_S)
    assert wait(guard, UNANSWERED_INTERVAL_S).refusal is None


@pytest.mark.parametrize("code", ["invalid_token", "invalid_backend", "invalid_client_type", "too_many_requests"])
def test_a_refusal_is_remembered_and_tried_again_once_every_five_minutes(code: str) -> None:
    guard = HelloGuard()
    now = 10.0
    guard.settle(attempt(guard, now), now, refusal=refusal(code))
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
        assert again.patient, "the HPB may delay a refusal by 25 s"
        meanwhile = wait(guard, now)
        assert meanwhile.until is None
        assert meanwhile.refusal is not None, "others learn the likely cause meanwhile"
        guard.settle(again, now, refusal=refusal(code))
    guard.settle(attempt(guard, now + RETRY_AFTER_S), now + RETRY_AFTER_S, accepted=True)
    assert guard.refusal(CONFIG, now + RETRY_AFTER_S) is None
    attempt(guard, now + RETRY_AFTER_S)


def test_another_credential_is_tried_at_once_but_counts_at_the_same_hpb() -> None:
    guard = HelloGuard()
    for number in range(MAX_FAILURES):
        config = replace(CONFIG, internal_secret=Secret(f"secret-{number}"))
        guard.settle(attempt(guard, float(number), config), float(number), refusal=refusal())
    blocked = wait(guard, 100.0, OTHER_SECRET)
    assert blocked.refusal is not None
    assert blocked.refusal.reason == "too_many_tries"
    assert "in 29 minutes" in blocked.refusal.fix
    assert blocked.until == WINDOW_S
    attempt(guard, 100.0, replace(CONFIG, url="wss://another.example.com"))
    attempt(guard, WINDOW_S, OTHER_SECRET)


def test_an_administrators_test_need_not_wait_and_its_success_lets_all_calls_log_in() -> None:
    guard = HelloGuard()
    guard.settle(attempt(guard), 0.0, refusal=refusal())
    wait(guard, 10.0)
    test = attempt(guard, 10.0, urgent=True)
    assert wait(guard, 10.0, urgent=True).until is None, "one at a time"
    guard.settle(test, 10.0, refusal=refusal())
    assert wait(guard, RETRY_AFTER_S + 5).until == RETRY_AFTER_S + 10, "the calls need not try so soon again"
    for number in range(SAME_FAILURES - 2):
        guard.settle(attempt(guard, 20.0 + number, urgent=True), 20.0 + number, refusal=refusal())
    last = wait(guard, 60.0, urgent=True)
    assert last.refusal is not None
    assert last.refusal.reason == "too_many_tries"
    assert "another one can be tested at once, this one in 29 minutes" in last.refusal.fix
    guard.settle(attempt(guard, WINDOW_S, urgent=True), WINDOW_S, accepted=True)
    attempt(guard, WINDOW_S)
    attempt(guard, WINDOW_S)


@pytest.mark.parametrize("tests", [5, 50])
def test_however_often_a_wrong_secret_is_tested_the_right_one_is_tried_at_once(tests: int) -> None:
    guard = HelloGuard()
    for number in range(tests):
        now = 10.0 * number
        if isinstance(trial := guard.ask(CONFIG, now, urgent=True), HelloAttempt):
            guard.settle(trial, now, refusal=refusal())
    now = 10.0 * tests
    mistyped = replace(CONFIG, internal_secret=Secret("mistyped"))
    guard.settle(attempt(guard, now, mistyped, urgent=True), now, refusal=refusal())
    guard.settle(attempt(guard, now, OTHER_SECRET, urgent=True), now, accepted=True)
    assert guard.accepted_at(OTHER_SECRET) == now
    assert guard.accepted_at(mistyped) == float("-inf")


@pytest.mark.parametrize("same", ["ws://signaling.example.com", "https://signaling.example.com:443/standalone-signaling"])
def test_failures_count_at_the_same_hpb_however_its_address_is_written(same: str) -> None:
    guard = HelloGuard()
    for number in range(MAX_FAILURES):
        url = (CONFIG.url, same)[number % 2]
        config = replace(CONFIG, url=url, internal_secret=Secret(f"secret-{number}"))
        guard.settle(attempt(guard, float(number), config), float(number), refusal=refusal())
    wait(guard, 100.0, replace(OTHER_SECRET, url=same))
    attempt(guard, 100.0, replace(OTHER_SECRET, url="wss://signaling.example.com:8443"))


def test_a_forgotten_session_puts_the_credential_in_doubt_until_a_hello_is_accepted() -> None:
    guard = HelloGuard()
    guard.settle(attempt(guard), 0.1, accepted=True)
    trial = attempt(guard, 2.0, lost_at=1.0)
    assert not trial.patient, "it has worked, so silence means that the HPB is away"
    assert isinstance(guard.ask(CONFIG, 2.0, lost_at=1.0), Wait)
    assert isinstance(guard.ask(CONFIG, 2.0), Wait)
    guard.settle(trial, 2.1, accepted=True)
    for _ in range(3):
        attempt(guard, 2.2, lost_at=1.0)
    guard = HelloGuard()
    guard.settle(attempt(guard), 0.1, accepted=True)
    guard.settle(attempt(guard, 2.0, lost_at=1.0), 2.0, refusal=refusal())
    assert isinstance(guard.ask(CONFIG, 2.0, lost_at=1.0), Wait)


def test_after_many_unanswered_hellos_each_one_waits_long_enough_for_a_delayed_refusal() -> None:
    guard = HelloGuard()
    guard.settle(attempt(guard), 0.0, accepted=True)
    patience = []
    for now in range(10, 110, 10):
        trial = attempt(guard, float(now), lost_at=5.0)
        patience.append(trial.patient)
        guard.settle(trial, now + 4.0)
    assert patience == [False] * 7 + [True] * 3


def test_waiting_ends_with_every_outcome_and_at_the_deadline() -> None:
    async def run() -> None:
        guard = HelloGuard()
        loop = asyncio.get_running_loop()
        for outcome in ({}, {"accepted": True}, {"refusal": refusal()}):
            trial = attempt(guard, loop.time())
            waiting = asyncio.create_task(guard.wait(None))
            await asyncio.sleep(10)
            assert not waiting.done()
            guard.settle(trial, loop.time(), **outcome)
            await asyncio.sleep(0)
            assert waiting.done()
        began_at = loop.time()
        await guard.wait(began_at + 5.0)
        assert loop.time() == began_at + 5.0

    virtual_clock.run(run())


def test_the_least_recently_used_credential_is_forgotten_first() -> None:
    guard = HelloGuard()
    guard.settle(attempt(guard), 0.0, refusal=refusal())
    for number in range(20):
        attempt(guard, 0.0, HpbConfig(f"wss://{number}.example.com", Secret("x"), "https://cloud.example.com"))
    attempt(guard, 1.0)


requests = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.floats(0.0, 400.0), st.booleans()), max_size=120)


@given(requests)
def test_an_hpb_that_refuses_every_secret_never_locks_the_app_out(
    asked: list[tuple[int, bool, float, bool]],
) -> None:
    """Calls, tests and new secrets in any order, against the HPB's own rule."""
    guard, throttle, now = HelloGuard(), Throttle(), 0.0
    for secret, urgent, passes_s, answered in asked:
        now += passes_s
        leave = guard.ask(replace(CONFIG, internal_secret=Secret(f"secret-{secret}")), now, urgent=urgent)
        if isinstance(leave, Wait):
            continue
        assert not throttle.blocked("here", "HelloInternal", now)
        throttle.failed("here", "HelloInternal", now)
        if answered:
            guard.settle(leave, now, refusal=refusal())
        else:
            guard.settle(leave, now)
    assert not throttle.blocked("here", "HelloInternal", now)
    assert MAX_FAILURES < ATTEMPTS


def test_answers_that_the_hpb_does_not_count_are_not_rationed() -> None:
    guard = HelloGuard()
    for number in range(3 * MAX_FAILURES):
        for code in ("too_many_requests", "invalid_client_type", "invalid_format"):
            assert code in UNCOUNTED
            guard.settle(attempt(guard, float(number), urgent=True), float(number), refusal=refusal(code))

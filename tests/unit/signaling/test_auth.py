# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Who may say hello, so that the HPB never locks us out."""

from __future__ import annotations

from live_transcription.config import HpbConfig
from live_transcription.errors import SignalingRefused
from live_transcription.signaling.auth import RETRY_AFTER_LOCKOUT_S, RETRY_AFTER_S, HelloAttempt, HelloGuard, Wait, hello_token
from live_transcription.signaling.refusals import hello_refusal
from live_transcription.types import Secret

CONFIG = HpbConfig("wss://signaling.example.com", Secret("one"), "https://cloud.example.com")
OTHER_SECRET = HpbConfig("wss://signaling.example.com", Secret("two"), "https://cloud.example.com")


def refusal(code: str = "invalid_token") -> SignalingRefused:
    error = hello_refusal(code, CONFIG.backend_url)
    assert error is not None
    return error


def attempt(guard: HelloGuard, now: float = 0.0, config: HpbConfig = CONFIG, *, doubtful: bool = False) -> HelloAttempt:
    leave = guard.ask(config, now, doubtful=doubtful)
    assert isinstance(leave, HelloAttempt)
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
    assert isinstance(guard.ask(CONFIG, 0.0), Wait)
    guard.accepted(first)
    attempt(guard)
    attempt(guard)


def test_an_attempt_without_an_outcome_makes_way_for_the_next() -> None:
    guard = HelloGuard()
    first = attempt(guard)
    guard.abandoned(first)
    guard.abandoned(first)
    attempt(guard)
    assert isinstance(guard.ask(CONFIG, 0.0), Wait)


def test_a_refusal_is_remembered_and_may_be_tried_again_after_five_minutes() -> None:
    guard = HelloGuard()
    guard.refused(attempt(guard), refusal(), 10.0)
    for now in (10.0, 10.0 + RETRY_AFTER_S - 1):
        remembered = guard.ask(CONFIG, now)
        assert isinstance(remembered, SignalingRefused)
        assert (remembered.reason, remembered.fix) == ("invalid_token", refusal().fix)
        assert guard.refusal(CONFIG, now) is not None
    later = 10.0 + RETRY_AFTER_S
    assert guard.refusal(CONFIG, later) is None
    again = attempt(guard, later)
    assert isinstance(guard.ask(CONFIG, later), Wait)
    guard.refused(again, refusal(), later)
    assert isinstance(guard.ask(CONFIG, later + RETRY_AFTER_S - 1), SignalingRefused)
    guard.accepted(attempt(guard, later + RETRY_AFTER_S))
    assert guard.refusal(CONFIG, later + RETRY_AFTER_S) is None


def test_a_lockout_is_left_alone_much_longer() -> None:
    guard = HelloGuard()
    guard.refused(attempt(guard), refusal("too_many_requests"), 0.0)
    assert isinstance(guard.ask(CONFIG, RETRY_AFTER_LOCKOUT_S - 1), SignalingRefused)
    attempt(guard, RETRY_AFTER_LOCKOUT_S)
    assert RETRY_AFTER_LOCKOUT_S >= 10 * RETRY_AFTER_S


def test_another_credential_starts_fresh() -> None:
    guard = HelloGuard()
    guard.refused(attempt(guard), refusal(), 0.0)
    attempt(guard, 1.0, OTHER_SECRET)
    assert isinstance(guard.ask(CONFIG, 1.0), SignalingRefused)


def test_a_session_that_the_server_forgot_puts_the_credential_in_doubt() -> None:
    guard = HelloGuard()
    guard.accepted(attempt(guard))
    trial = attempt(guard, 1.0, doubtful=True)
    assert isinstance(guard.ask(CONFIG, 1.0, doubtful=True), Wait)
    assert isinstance(guard.ask(CONFIG, 1.0), Wait)
    guard.refused(trial, refusal(), 2.0)
    assert isinstance(guard.ask(CONFIG, 2.0, doubtful=True), SignalingRefused)


def test_those_who_wait_hear_of_every_outcome() -> None:
    guard = HelloGuard()
    heard: list[str] = []

    def listener() -> None:
        heard.append("asked again")

    guard.add_listener(listener)
    guard.abandoned(attempt(guard))
    guard.accepted(attempt(guard))
    guard.refused(attempt(guard), refusal(), 0.0)
    assert len(heard) == 3
    guard.remove_listener(listener)
    guard.accepted(attempt(guard, RETRY_AFTER_S))
    assert len(heard) == 3


def test_credentials_are_forgotten_in_order_of_use() -> None:
    guard = HelloGuard()
    guard.refused(attempt(guard), refusal(), 0.0)
    for number in range(20):
        attempt(guard, 0.0, HpbConfig(f"wss://{number}.example.com", Secret("x"), "https://cloud.example.com"))
    attempt(guard, 1.0)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Consent freshness against aioice's STUN, and the time slots of periodic messages."""

from __future__ import annotations

from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.runtime.timer import SLOT_S, next_slot
from live_transcription.webrtc.consent import EXPIRES_S, Consent

PASSWORD = "password-of-the-sfu-at-least-22"


def made() -> Consent:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes |= {"USERNAME": "them:us", "PRIORITY": 1_853_817_087, "ICE-CONTROLLED": 2**60 + 5}
    return Consent(bytes(request), PASSWORD, 0.0)


def answer(request: stun.Message, key: str = PASSWORD, kind: stun.Class = stun.Class.RESPONSE) -> bytes:
    response = stun.Message(stun.Method.BINDING, kind, request.transaction_id)
    response.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.1", 40_000)
    response.add_message_integrity(key.encode())
    return bytes(response)


def test_a_request_is_a_valid_binding_request() -> None:
    consent = made()
    first, second = (stun.parse_message(consent.request()) for _ in range(2))  # which checks the fingerprint
    for request in (first, second):
        assert (request.message_method, request.message_class) == (stun.Method.BINDING, stun.Class.REQUEST)
        assert request.attributes["USERNAME"] == "them:us"
        assert request.attributes["ICE-CONTROLLED"] == 2**60 + 5
        assert request.check_message_integrity(PASSWORD.encode())
    assert first.transaction_id != second.transaction_id


def test_consent_lasts_for_30_seconds_after_the_last_answer() -> None:
    consent = made()
    request = stun.parse_message(consent.request())
    consent.request()
    assert consent.given(answer(request), 20.0)  # a late answer, to the request before
    assert not consent.expired(20.0 + EXPIRES_S - 0.1)
    assert consent.expired(20.0 + EXPIRES_S)


def test_unauthentic_answers_do_not_renew_consent() -> None:
    consent = made()
    request = stun.parse_message(consent.request())
    unasked = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    unsigned = bytes(stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id))
    for response in (answer(unasked), answer(request, "another-password"), unsigned, answer(request)[:-20]):
        assert not consent.given(response, 20.0)
    assert consent.given(answer(request), 21.0)
    assert not consent.given(answer(request), 25.0), "an answer counts once"
    assert consent.expired(21.0 + EXPIRES_S)


@given(st.binary(max_size=120))
def test_no_message_raises(data: bytes) -> None:
    consent = made()
    transaction = consent.request()[8:20]
    assert not consent.given(data, 1.0)
    assert not consent.given(data[:8].ljust(8, b"\0") + transaction + data[8:], 1.0)


@given(st.floats(0, 1e6), st.floats(0.1, 10), st.floats(0, 10))
def test_periodic_messages_share_time_slots(now: float, least_s: float, more_s: float) -> None:
    at = next_slot(now, (least_s, least_s + more_s))
    assert abs(at / SLOT_S - round(at / SLOT_S)) < 1e-6
    assert now + least_s - 1e-6 <= at <= now + least_s + more_s + SLOT_S + 1e-6

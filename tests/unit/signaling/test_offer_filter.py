# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Errors of the HPB about requests for offers, and the limit of the remembered requests."""

from __future__ import annotations

from live_transcription.signaling.events import OfferReceived, SubscribeFailed
from live_transcription.signaling.offer_filter import MAX_REQUESTS, OfferFilter

OFFER = OfferReceived("pub-1", "video", "11", "v=0")


def test_a_late_error_for_a_request_that_was_answered_is_ignored() -> None:
    offers = OfferFilter()
    offers.sent("1", "pub-1", "video", expects_offer=True)
    offers.sent("2", "pub-1", "video", expects_offer=True)
    offers.sent("3", "pub-2", "video", expects_offer=True)
    assert offers.rejection(OFFER, 3, 100.0) is None
    assert offers.failure("1", "client_not_found") is None
    assert offers.failure("2", "client_not_found") is None
    assert offers.failure("3", "client_not_found") == SubscribeFailed("pub-2", "client_not_found")


def test_an_error_for_a_request_after_the_offer_counts() -> None:
    offers = OfferFilter()
    offers.sent("1", "pub-1", "video", expects_offer=True)
    assert offers.rejection(OFFER, 1, 100.0) is None
    offers.sent("2", "pub-1", "video", expects_offer=False)
    assert offers.failure("2", "invalid_sdp") == SubscribeFailed("pub-1", "invalid_sdp")


def test_the_remembered_requests_are_limited_to_the_latest() -> None:
    offers = OfferFilter()
    for number in range(1, MAX_REQUESTS + 2):
        offers.sent(str(number), f"pub-{number}", "video", expects_offer=True)
    assert offers.failure("1", "client_not_found") is None
    assert offers.failure("2", "client_not_found") == SubscribeFailed("pub-2", "client_not_found")
    offers.clear()
    assert offers.failure("3", "client_not_found") is None

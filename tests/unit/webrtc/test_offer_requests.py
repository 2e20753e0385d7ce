# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When offers are requested, given how the HPB treats waiting requests."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_transcription.webrtc.offer_requests import OFFER_TIMEOUT_S, PUBLISHER_WAIT_S, OfferRequests


def middle() -> float:
    return 0.5


def asked_until(requests: OfferRequests, end_s: float, *, refused_after_s: float | None) -> list[float]:
    """Return the times of the requests. The HPB answers each with an error after `refused_after_s`, or never."""
    times: list[float] = []
    refusals: list[float] = []
    while True:
        now = min(requests.due, *refusals, math.inf)
        if now >= end_s:
            return times
        if now in refusals:
            refusals.remove(now)
            requests.refused(now)
        else:
            times.append(now)
            requests.asked(now)
            refusals += [now + refused_after_s] if refused_after_s is not None else []


def test_an_unanswered_request_is_repeated_after_three_seconds_and_then_more_slowly() -> None:
    times = asked_until(OfferRequests(middle), 60, refused_after_s=None)
    assert times[0] == 0
    assert OFFER_TIMEOUT_S <= times[1] <= OFFER_TIMEOUT_S + 0.5
    assert all(third - first >= PUBLISHER_WAIT_S for first, third in zip(times, times[2:], strict=False)), "two wait at most"
    assert 5 <= len(times) <= 7


def test_a_request_nearly_always_waits_on_the_hpb_for_an_absent_publisher() -> None:
    """`client_not_found` after 10 s means that the publisher is not there yet, and that no request was lost."""
    times = asked_until(OfferRequests(middle), 300, refused_after_s=PUBLISHER_WAIT_S)
    later = times[3:]
    assert all(PUBLISHER_WAIT_S < after - before <= PUBLISHER_WAIT_S + 1 for before, after in pairwise(later))


def test_a_refused_request_is_repeated_more_and_more_slowly() -> None:
    times = asked_until(OfferRequests(middle), 100, refused_after_s=0.01)
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[:4] == pytest.approx([0.76, 1.51, 3.01, 6.01])
    assert max(gaps) <= 10.1
    assert len(times) <= 16


def test_an_unlikely_publisher_is_requested_rarely() -> None:
    requests = OfferRequests(middle)
    requests.expect(False, 0.0)
    times = asked_until(requests, 3_600, refused_after_s=PUBLISHER_WAIT_S)
    assert len([time for time in times if time < 75]) <= 2
    assert 10 <= len(times) <= 25
    assert max(after - before for before, after in pairwise(times)) <= 310
    requests.expect(True, 3_700.0)
    assert requests.due <= 3_700.0


def test_a_publisher_that_had_a_stream_is_likely() -> None:
    requests = OfferRequests(middle)
    requests.expect(False, 0.0)
    requests.asked(0.0)
    requests.offered()
    requests.connected()
    requests.closed(50.0)
    assert requests.likely
    assert 51.0 <= requests.due <= 51.4
    requests.asked(requests.due)
    requests.refused(62.0)
    assert not requests.likely


def test_nothing_is_requested_while_a_peer_lives() -> None:
    requests = OfferRequests(middle)
    requests.asked(0.0)
    requests.offered()
    assert requests.due == math.inf
    requests.connected()
    assert requests.due == math.inf


@given(
    st.lists(
        st.tuples(st.sampled_from(("asked", "refused", "offered", "connected", "closed", "expect", "not")), st.floats(0, 20))
    )
)
def test_no_request_follows_the_end_of_a_peer_within_a_second(steps: list[tuple[str, float]]) -> None:
    requests, now, closed_at = OfferRequests(middle), 0.0, -math.inf
    for step, after_s in steps:
        now += after_s
        if step == "asked":
            if requests.due > now:
                continue
            requests.asked(now)
            assert now - closed_at >= 1.0
        elif step == "closed":
            requests.closed(now)
            closed_at = now
        elif step in ("expect", "not"):
            requests.expect(step == "expect", now)
        elif step == "refused":
            requests.refused(now)
        else:
            getattr(requests, step)()
        assert requests.due >= closed_at + 1.0

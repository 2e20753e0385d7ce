# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which publisher is asked for an offer, and when."""

from __future__ import annotations

from collections import Counter

import pytest

from live_transcription.call.offer_queue import MOST_PENDING, RETRY_EVERY_S, OfferQueue


def queue(*session_ids: str) -> OfferQueue:
    made = OfferQueue()
    for session_id in session_ids:
        made.add(session_id)
    return made


def test_new_publishers_are_asked_at_once_up_to_the_limit() -> None:
    names = [f"p{number}" for number in range(MOST_PENDING + 6)]
    offers = queue(*names)
    asked = []
    while (session_id := offers.take(0.0)) is not None:
        asked.append(session_id)
    assert sorted(asked) == sorted(names[: MOST_PENDING // 2] + names[-MOST_PENDING // 2 :]), (
        "alternately the oldest and the newest"
    )
    assert offers.deadline is None, "only an answer allows another request"
    offers.answered("p3")
    assert offers.take(0.0) in names[MOST_PENDING // 2 : -MOST_PENDING // 2]


def test_a_publisher_without_a_stream_is_asked_again_when_it_is_due() -> None:
    offers = queue("a")
    assert offers.take(0.0) == "a"
    assert offers.take(0.0) is None
    offers.postpone("a", 7.0)
    assert offers.deadline == 7.0
    assert offers.take(6.99) is None
    offers.postpone("a", 3.0)
    assert offers.deadline == 3.0, "the latest call counts"
    assert offers.take(3.0) == "a"
    assert offers.take(7.0) is None, "once"


@pytest.mark.parametrize("claimants", [1, 7, 50])
def test_an_endless_stream_of_newcomers_does_not_block_retries(claimants: int) -> None:
    """A publisher set its flag before its stream, while so many claimants join each second and leave after 20 s."""
    offers = queue("real")
    assert offers.take(0.0) == "real"
    offers.postpone("real", 11.0)
    answers: list[tuple[float, str]] = []
    leaves: list[tuple[float, str]] = []
    now = 0.0
    session_id: str | None = None
    while session_id != "real":
        now += 0.125
        assert now <= 60.0
        if now % 1.0 == 0.0:
            for number in range(claimants):
                name = f"claimant-{now}-{number}"
                offers.add(name)
                leaves.append((now + 20.0, name))
        while leaves and leaves[0][0] <= now:
            offers.remove(leaves.pop(0)[1])
        while answers and answers[0][0] <= now:
            offers.postpone(answers.pop(0)[1], now + 1.0)
        while (session_id := offers.take(now)) is not None and session_id != "real":
            answers.append((now + 10.0, session_id))


@pytest.mark.parametrize("joined_at", [5.0, 2_000.0])
def test_a_newcomer_is_asked_soon_although_ten_thousand_claim_a_microphone(joined_at: float) -> None:
    """The HPB refuses each request after 10 s. At first all places are taken by new publishers, later one is always free."""
    offers = queue(*(f"claimant-{number}" for number in range(10_000)))
    requests: Counter[str] = Counter()
    pending: list[tuple[float, str]] = []
    now, asked_at = 0.0, 0.0
    while now < 3_000.0:
        while pending and pending[0][0] <= now:
            offers.postpone(pending.pop(0)[1], now + 1.0)
        if asked_at == 0.0 and now >= joined_at:
            offers.add("real")
        while (session_id := offers.take(now)) is not None:
            requests[session_id] += 1
            if session_id == "real":
                asked_at = now
                offers.answered(session_id)
            else:
                pending.append((now + 10.0, session_id))
        now += 0.125
    assert asked_at - joined_at <= (10.0 if joined_at < 100.0 else 0.125)
    assert sum(requests.values()) <= 3_000 * MOST_PENDING / 10 + MOST_PENDING
    assert len(requests) == 10_001, "everybody was asked"


def test_retries_are_spaced_even_if_refusals_come_at_once() -> None:
    offers = queue(*(f"claimant-{number}" for number in range(1_000)))
    requests, now = 0, 0.0
    while now < 100.0:
        while (session_id := offers.take(now)) is not None:
            requests += 1
            offers.postpone(session_id, now + 1.0)
        now += 0.025
    assert requests <= 1_000 + 100 / RETRY_EVERY_S + 1


def test_a_publisher_that_left_is_not_asked_and_may_come_back() -> None:
    offers = queue("a", "b")
    assert offers.take(0.0) == "a"
    offers.postpone("a", 1.0)
    offers.remove("a")
    offers.remove("b")
    assert offers.take(100.0) is None
    assert offers.deadline is None
    offers.add("a")
    assert offers.take(100.0) == "a"
    offers.postpone("unknown", 100.0)
    offers.answered("unknown")
    assert offers.pending == {"a"}
    assert offers.take(1000.0) is None, "what is unknown is ignored"


def test_a_publisher_that_lost_its_subscription_takes_turns_with_new_ones() -> None:
    offers = queue("a", "b")
    assert offers.take(0.0) == "a"
    offers.answered("a")
    offers.postpone("a", 1.0)
    assert [offers.take(1.0), offers.take(1.0)] == ["b", "a"]

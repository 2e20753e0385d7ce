# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Nextcloud's brute-force protection."""

from __future__ import annotations

from sandbox.nextcloud.throttle import MAX_ATTEMPTS, MAX_DELAY_S, Throttle

ADDRESS, OTHER = "192.0.2.1", "192.0.2.2"


def after(failures: int) -> Throttle:
    throttle = Throttle()
    for number in range(failures):
        throttle.failed(ADDRESS, "app:", float(number))
    return throttle


def test_each_failure_doubles_the_delay_of_its_address_alone() -> None:
    delays = [after(failures).delay(ADDRESS, 20.0) for failures in range(MAX_ATTEMPTS + 1)]
    assert delays == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, MAX_DELAY_S, MAX_DELAY_S, MAX_DELAY_S]
    assert after(MAX_ATTEMPTS).delay(OTHER, 20.0) == 0.0


def test_more_than_ten_failures_close_the_door_for_half_an_hour_and_slow_it_for_twelve() -> None:
    throttle = after(MAX_ATTEMPTS + 1)
    assert throttle.delay(ADDRESS, 1790.0) is None
    assert throttle.delay(ADDRESS, 1801.0) == MAX_DELAY_S
    assert throttle.delay(ADDRESS, 13 * 3600.0) == 0.0


def test_success_forgives_the_same_app_and_user_only() -> None:
    throttle = after(3)
    throttle.failed(ADDRESS, "other:", 4.0)
    throttle.succeeded(ADDRESS, "app:")
    assert throttle.delay(ADDRESS, 5.0) == 0.2

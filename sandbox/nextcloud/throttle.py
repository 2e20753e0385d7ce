# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Nextcloud's brute-force protection, as AppAPI applies it to requests of external apps.

Pure: `now` comes in. It follows `OC\\Security\\Bruteforce\\Throttler`: each failed attempt doubles the delay of the address;
more than ten within half an hour close the door. A request that succeeds forgives the failures of the same app and user only.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_ATTEMPTS = 10
MAX_DELAY_S = 25.0
_FIRST_DELAY_S = 0.1
_REMEMBERED_S = 12 * 3600
_BLOCKED_S = 1800


@dataclass(frozen=True, slots=True)
class _Attempt:
    at: float
    address: str
    subject: str


class Throttle:
    """Failed attempts of all addresses; a `subject` is the app and the user that a request names."""

    def __init__(self) -> None:
        self._attempts: list[_Attempt] = []

    def delay(self, address: str, now: float) -> float | None:
        """Seconds that a request from this address has to wait before it is looked at; None: 429 instead."""
        attempts = self._count(address, now - _REMEMBERED_S)
        if attempts > MAX_ATTEMPTS and self._count(address, now - _BLOCKED_S) > MAX_ATTEMPTS:
            return None
        if attempts == 0:
            return 0.0
        return min(_FIRST_DELAY_S * 2.0**attempts, MAX_DELAY_S)

    def failed(self, address: str, subject: str, now: float) -> None:
        self._attempts.append(_Attempt(now, address, subject))

    def succeeded(self, address: str, subject: str) -> None:
        self._attempts = [each for each in self._attempts if (each.address, each.subject) != (address, subject)]

    def _count(self, address: str, since: float) -> int:
        return sum(each.address == address and each.at > since for each in self._attempts)

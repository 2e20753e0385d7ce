# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Waits between attempts to connect: exponential, base 2, with full jitter, so that many rooms do not come back at once."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """`next_delay()` in seconds: uniform in [0, min(cap, first * 2**n)) for the n-th attempt since `reset()`.

    With the defaults a first retry comes within half a second and six or so within the 30 s that the HPB keeps a session.
    `rng` returns floats in [0, 1).
    """

    def __init__(self, rng: Callable[[], float], *, first_s: float = 0.5, cap_s: float = 30.0) -> None:
        self._rng = rng
        self._first_s = first_s
        self._cap_s = cap_s
        self._ceiling_s = first_s

    def next_delay(self) -> float:
        delay = self._rng() * min(self._ceiling_s, self._cap_s)
        self._ceiling_s = min(self._ceiling_s * 2, self._cap_s)
        return delay

    def reset(self) -> None:
        self._ceiling_s = self._first_s

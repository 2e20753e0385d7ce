# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A limit for log lines that an outsider can cause: one per interval and key, with the number of lines left out."""

from __future__ import annotations

from collections.abc import Callable

#: Seconds between two lines.
INTERVAL_S = 60.0


class LogLimit:
    """Allows one line per key and interval. `clock`: seconds of any monotonic clock. Keys are constants of the code."""

    def __init__(self, interval_s: float, clock: Callable[[], float]) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def permit(self, key: str = "") -> int | None:
        """None: do not write this line. Else write it; the number says how many were left out since the last one."""
        now = self._clock()
        if now < self._next.get(key, now):
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return None
        self._next[key] = now + self._interval_s
        return self._left_out.pop(key, 0)

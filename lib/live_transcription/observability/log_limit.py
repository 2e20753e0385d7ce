# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A limit for log lines that an outsider can cause: one per interval and key, with the number of lines left out."""

from __future__ import annotations

import time
from collections.abc import Callable


class LogLimit:
    """Allows one log line per `interval_s` seconds for each key. Keys are constants of the code: they are never forgotten."""

    def __init__(self, interval_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def allow(self, key: str = "") -> int | None:
        """The number of events since the last line, this one included, if a line is due now; otherwise None."""
        now = self._clock()
        count = self._left_out.get(key, 0) + 1
        if now < self._next.get(key, now):
            self._left_out[key] = count
            return None
        self._next[key] = now + self._interval_s
        self._left_out[key] = 0
        return count

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One line for an outage, however many speakers it befalls and however often each of them tries again. Pure."""

from __future__ import annotations

#: An outage that goes on is told of again after this long, one that has come back after the second, in seconds.
REMIND_S = (300.0, 30.0)
#: Messages that are remembered; some quote what the server says.
_REMEMBERED = 32


class RetryLog:
    """What a backend's streams have told of, by message: that a server cannot be reached explains why connections broke.

    `now`: seconds of a monotonic clock.
    """

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}
        self._down = False
        self._untold = 0

    def failed(self, message: str, now: float) -> int | None:
        """A connection failed. How many failures were not told of since the last line, if this one is worth a line."""
        told_at = self._told_at.get(message, float("-inf"))
        if now < told_at + REMIND_S[0 if self._down else 1]:
            self._untold += 1
            return None
        self._down = True
        self._told_at.pop(message, None)
        if len(self._told_at) >= _REMEMBERED:
            del self._told_at[next(iter(self._told_at))]
        self._told_at[message] = now
        return self._take_untold()

    def worked(self) -> int | None:
        """A connection brought words. The failures that were not told of, the first time after a failure that was."""
        if not self._down:
            return None
        self._down = False
        return self._take_untold()

    def _take_untold(self) -> int:
        untold, self._untold = self._untold, 0
        return untold

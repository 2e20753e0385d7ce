# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Where in a stream's audio the local voice detector found speech. Pure. Positions are samples since the stream began."""

from __future__ import annotations

from collections import deque


class SpeechMarks:
    """Remembers as much as `forget` leaves."""

    def __init__(self) -> None:
        # The positions from which on there is speech, or none, in turn.
        self._changes: deque[tuple[int, bool]] = deque()

    def mark(self, position: int, active: bool) -> None:
        """Note whether there is speech from `position` on. Positions must not decrease."""
        if (self._changes[-1][1] if self._changes else False) is not active:
            self._changes.append((position, active))

    def at(self, position: int) -> bool:
        """Whether there is speech at `position`."""
        return next((active for start, active in reversed(self._changes) if start <= position), False)

    def samples(self, start: int, stop: int) -> int:
        """The number of samples of speech between two positions."""
        count, end = 0, stop
        for position, active in reversed(self._changes):
            if active:
                count += max(0, end - max(start, position))
            end = min(end, position)
            if position <= start:
                break
        return count

    def forget(self, position: int) -> None:
        """Forget the changes that make no difference from `position` on."""
        while len(self._changes) > 1 and self._changes[1][0] <= position:
            self._changes.popleft()

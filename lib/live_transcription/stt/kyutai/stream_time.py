# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A server's time to stream time: the silence that flushed its model is no part of the speaker's audio. Pure."""

from __future__ import annotations

from collections import deque

#: Flushes remembered; times older than that are off by the silence of the forgotten ones, which nobody asks for.
_REMEMBERED = 64


class StreamTime:
    """Maps seconds of what the server was sent to seconds of what the speaker said."""

    def __init__(self) -> None:
        # (where silence was put in, in server seconds; how much of it; all silence before it)
        self._insertions: deque[tuple[float, float, float]] = deque(maxlen=_REMEMBERED)
        self._inserted_s = 0.0

    def insert(self, at_s: float, silence_s: float) -> None:
        """Silence was put in at `at_s`, in server seconds, later than any before."""
        self._insertions.append((at_s, silence_s, self._inserted_s))
        self._inserted_s += silence_s

    def to_stream(self, server_s: float) -> float:
        """Never negative; a moment within inserted silence is the moment it was put in at."""
        for at_s, silence_s, before_s in reversed(self._insertions):
            if server_s >= at_s:
                return max(0.0, max(at_s, server_s - silence_s) - before_s)
        before_s = self._insertions[0][2] if self._insertions else 0.0
        return max(0.0, server_s - before_s)

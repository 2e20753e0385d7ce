# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""An event loop that handles many small events in few turns.

For a hundred people who talk, a moshi-server sends 1,250 messages per second, one for each 80 ms of a speaker. If each one
wakes the loop, a turn of the loop costs more than the message. While events come so fast, the loop waits a few milliseconds
between two turns and handles several at once, as network drivers do with interrupts. Below that rate nothing is delayed. Media
has separate turns (`webrtc.datagrams`), unless it comes through TURN or the system cannot read it in batches.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import time
from collections.abc import Callable

from live_transcription.runtime.threads import started_threads

#: Seconds between two turns while events come fast; short compared with frames of 80 ms.
TURN_S = 0.01
#: Events per second from which on they come fast: some eight people who talk.
FAST_PER_S = 400
_WINDOW_S = 0.1
#: Turns in a row without a rest, at most.
_UNRESTED = 4


class CoalescingSelector(selectors.DefaultSelector):
    """The system's selector, asked at most once every `turn_s` while events come fast and nothing else is to be done."""

    def __init__(
        self,
        turn_s: float = TURN_S,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._turn_s = turn_s
        self._clock = clock
        self._sleep = sleep
        self._fast = False
        self._unrested = 0
        self._events = 0
        self._window_ends = 0.0
        self._next_turn = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As in `selectors.BaseSelector`; with `timeout` 0, that is with work at hand, never delayed."""
        if self._fast and (timeout is None or timeout > 0):
            # A turn takes one datagram of each socket: where more have queued up, they are taken before the loop rests.
            if self._unrested < _UNRESTED and (ready := super().select(0)):
                self._unrested += 1
                self._events += len(ready)
                return ready
            self._unrested = 0
            pause = self._next_turn - self._clock()
            if timeout is not None and timeout < pause:
                pause = timeout
            if pause > 0:
                self._sleep(pause)
                if timeout is not None:
                    timeout -= pause
        ready = super().select(timeout)
        now = self._clock()
        self._next_turn = now + self._turn_s
        self._events += len(ready)
        if now >= self._window_ends:
            self._fast = self._events >= FAST_PER_S * _WINDOW_S and now - self._window_ends < _WINDOW_S
            self._events = 0
            self._window_ends = now + _WINDOW_S
        return ready


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop for the whole process, as a factory for `asyncio.Runner` and uvicorn."""
    loop = asyncio.SelectorEventLoop(CoalescingSelector())
    loop.set_default_executor(started_threads(min(32, (os.cpu_count() or 1) + 4), "asyncio"))  # asyncio's own default number
    return loop

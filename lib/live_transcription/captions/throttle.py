# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One speaker's cadence: as many partials as Talk can show, every final at once."""

from __future__ import annotations

from live_transcription.captions.pace import Pace
from live_transcription.captions.policy import UtteranceText


class CaptionThrottle:
    """Passes finals at once and at most one partial per `interval_s`; the latest partial wins, unchanged text is skipped.

    `partials=False` passes finals only. `pace` stretches the interval under load; finals know nothing of it.
    Pure: `now` in seconds of any monotonic clock; call `tick` at `next_deadline()`.
    """

    def __init__(self, interval_s: float = 0.3, *, partials: bool = True, pace: Pace | None = None) -> None:
        self._interval_s = interval_s
        self._pace = pace or Pace()
        self._partials = partials
        self._next_at: float | None = None
        self._waiting: UtteranceText | None = None
        self._shown = ""
        #: Partials that a later text has replaced before they were passed on.
        self.superseded = 0

    def offer(self, utterance: UtteranceText, now: float) -> list[UtteranceText]:
        """What may go out now. An utterance taken back comes out only where a partial of it went out before."""
        if utterance.final:
            self._drop_waiting()
            shown, self._shown = self._shown, ""
            return [] if utterance.retracted and not shown else [utterance]
        if not self._partials:
            return []
        self._drop_waiting()
        if utterance.text == self._shown:
            return []
        if self._next_at is not None and now < self._next_at:
            self._waiting = utterance
            return []
        return self._pass(utterance, now)

    def tick(self, now: float) -> list[UtteranceText]:
        """The waiting partial, once its time has come."""
        if self._waiting is None or (self._next_at is not None and now < self._next_at):
            return []
        utterance, self._waiting = self._waiting, None
        return self._pass(utterance, now)

    def next_deadline(self) -> float | None:
        """When `tick` is to be called next; None while nothing waits."""
        return self._next_at if self._waiting is not None else None

    def _pass(self, utterance: UtteranceText, now: float) -> list[UtteranceText]:
        self._shown = utterance.text
        self._next_at = now + self._interval_s * self._pace.stretch
        return [utterance]

    def _drop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting = None
            self.superseded += 1

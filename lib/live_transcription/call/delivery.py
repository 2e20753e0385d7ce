# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A call's captions on their way out: in an order that Talk can show, to each who wants them, every final once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from live_transcription.alarm import Alarm
from live_transcription.call.targets import Targets
from live_transcription.captions.floor import CaptionFloor
from live_transcription.observability import metrics
from live_transcription.signaling.requests import Recipient
from live_transcription.types import Caption

#: Finals kept while signaling is interrupted, or its queue is full.
KEPT_FINALS = 200
#: Wait before finals that a full queue did not take are offered again, in seconds; the next caption offers them, too.
OFFER_AGAIN_S = 0.5


class CaptionSink(Protocol):
    """The signaling session."""

    @property
    def in_room(self) -> bool: ...
    def send_caption(self, recipient: Recipient, caption: Caption) -> bool: ...


@dataclass(slots=True)
class _Outgoing:
    """`served`: sessions that have it already."""

    caption: Caption
    served: set[str] = field(default_factory=set)


class CaptionDelivery:
    """Takes the speakers' captions. Finals that cannot be sent wait, with who has them already; the oldest go and are counted.

    `on_sent`: a caption has reached all who want it.
    """

    def __init__(self, sink: CaptionSink, targets: Targets, *, on_sent: Callable[[Caption], None]) -> None:
        self._sink = sink
        self._targets = targets
        self._on_sent = on_sent
        self._floor = CaptionFloor()
        self._cuts = 0
        self._kept: deque[_Outgoing] = deque()
        self._alarm = Alarm(self._tick)

    def offer(self, caption: Caption) -> None:
        """A speaker's throttled caption. Empty finals take back what is open."""
        self._send_all(self._floor.offer(caption, self._now()))

    def leave(self, speaker: str) -> None:
        """The speaker is gone: what is shown of them is closed."""
        self._send_all(self._floor.leave(speaker, self._now()))

    def flush(self) -> None:
        """Offer what waits: we are in the room again."""
        self._send_all(())

    def close(self) -> None:
        """Nothing goes out any more; what still waits is counted as given up."""
        self._alarm.cancel()
        metrics.finals_dropped.inc(len(self._kept))
        self._kept.clear()

    def _tick(self) -> None:
        self._send_all(self._floor.tick(self._now()))

    def _send_all(self, captions: Sequence[Caption]) -> None:
        """In order, finals that could not be sent before first."""
        waiting = [*self._kept, *map(_Outgoing, captions)]
        self._kept.clear()
        for outgoing in waiting:
            # Where one waits those after it wait, too: nobody reads the second sentence before the first.
            if (self._kept or not self._send(outgoing)) and outgoing.caption.final:
                self._keep(outgoing)
        metrics.caption_cuts.inc(self._floor.cuts - self._cuts)
        self._cuts = self._floor.cuts
        offer_again = self._now() + OFFER_AGAIN_S if self._kept and self._sink.in_room else None
        deadlines = (self._floor.next_deadline(), offer_again)
        self._alarm.set(min((deadline for deadline in deadlines if deadline is not None), default=None))

    def _keep(self, outgoing: _Outgoing) -> None:
        if len(self._kept) == KEPT_FINALS:
            self._kept.popleft()
            metrics.finals_dropped.inc()
        self._kept.append(outgoing)

    def _send(self, outgoing: _Outgoing) -> bool:
        """False: not taken by all, although somebody may want it."""
        if not self._sink.in_room:
            return False
        caption, now = outgoing.caption, self._now()
        for recipient in self._targets.recipients(caption.speaker, now, outgoing.served):
            if not self._sink.send_caption(recipient, caption):
                return False
            outgoing.served.update(self._targets.sessions(recipient, caption.speaker, now))
        if outgoing.served:
            metrics.caption_sent(final=caption.final)
            self._on_sent(caption)
        return True

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

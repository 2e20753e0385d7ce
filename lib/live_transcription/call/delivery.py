# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Delivery of a call's captions: readable order, every recipient, every word once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from live_transcription.call.targets import Targets
from live_transcription.capacity.pace import Pace
from live_transcription.captions.floor import CaptionFloor
from live_transcription.observability import metrics
from live_transcription.runtime.timer import Alarm
from live_transcription.signaling.requests import Recipient
from live_transcription.transcript import Utterance
from live_transcription.types import Caption

#: Seconds before a message that a full queue refused is offered again; the next caption offers it, too.
OFFER_AGAIN_S = 0.5


class CaptionSink(Protocol):
    """The signaling session."""

    @property
    def in_room(self) -> bool: ...
    def send_caption(self, recipient: Recipient, caption: Caption) -> bool: ...


@dataclass(slots=True)
class _Outgoing:
    """`served`: sessions that have received it."""

    caption: Caption
    served: set[str] = field(default_factory=set)


class CaptionDelivery:
    """Sends the speakers' committed words. Words that cannot be sent yet wait in the floor, which merges and bounds them.

    `on_sent` is called when a message was sent to all its recipients.
    """

    def __init__(
        self, sink: CaptionSink, targets: Targets, *, on_sent: Callable[[Caption], None], pace: Pace | None = None
    ) -> None:
        self._sink = sink
        self._targets = targets
        self._on_sent = on_sent
        self._floor = CaptionFloor(pace)
        # Taken from the floor, and not yet sent to every recipient.
        self._outgoing: _Outgoing | None = None
        self._counted_bytes = self._counted_dropped = 0
        self._alarm = Alarm(self.flush)

    @property
    def blocked(self) -> bool:
        """Whether a full queue keeps words from those who want them."""
        return self._outgoing is not None and self._sink.in_room

    def offer(self, caption: Caption) -> None:
        """Add committed words of a speaker."""
        self._floor.offer(caption, self._now())
        self.flush()

    def end_utterance(self, utterance: Utterance) -> None:
        """The speaker has paused: others may take the floor."""
        self._floor.end_utterance(utterance.speaker)
        self.flush()

    def leave(self, speaker: str, *, leaving: bool = True) -> None:
        """The speaker leaves: send the last words without waiting for the floor. `leaving=False`: the speaker is back."""
        self._floor.leave(speaker, leaving=leaving)
        self.flush()

    def forget(self, speaker: str) -> None:
        """No more words of this speaker will be offered."""
        self._floor.forget(speaker)
        self.flush()

    def flush(self) -> None:
        """Send all messages that are due."""
        now = self._now()
        blocked = not self._sink.in_room
        while not blocked and (outgoing := self._outgoing or self._take(now)) is not None:
            self._outgoing = outgoing
            blocked = not self._send(outgoing, now)
            if not blocked:
                self._outgoing = None
        self._count()
        again = now + OFFER_AGAIN_S if self._sink.in_room else None
        self._alarm.set(again if blocked else self._floor.next_deadline())

    def close(self) -> None:
        """Send nothing more; count what still waits as dropped."""
        self._alarm.cancel()
        self._floor.clear()
        self._count()
        if self._outgoing is not None:
            metrics.words_dropped.inc(len(self._outgoing.caption.text.split()))
            self._outgoing = None

    def _take(self, now: float) -> _Outgoing | None:
        message = self._floor.next_message(now)
        if message is None:
            return None
        if message.waited_s is not None:
            metrics.floor_wait_seconds.observe(message.waited_s)
        return _Outgoing(message.caption)

    def _send(self, outgoing: _Outgoing, now: float) -> bool:
        """Returns False if the queue refused the message for some recipient."""
        caption = outgoing.caption
        for recipient in self._targets.recipients(caption.speaker, now, outgoing.served):
            if not self._sink.send_caption(recipient, caption):
                return False
            outgoing.served.update(self._targets.sessions(recipient, caption.speaker, now))
        if outgoing.served:
            metrics.captions_sent.inc()
            self._on_sent(caption)
        return True

    def _count(self) -> None:
        metrics.captions_waiting_bytes.inc(self._floor.waiting_bytes - self._counted_bytes)
        metrics.words_dropped.inc(self._floor.dropped_words - self._counted_dropped)
        self._counted_bytes, self._counted_dropped = self._floor.waiting_bytes, self._floor.dropped_words

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

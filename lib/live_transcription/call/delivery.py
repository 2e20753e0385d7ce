# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Delivers a call's captions: from the floor through a lane per language to the outbox of the signaling session.

`captions.floor` decides whose words come next, a `Lane` sends them to every target, and `signaling.outbox` repeats what a
broken websocket may have lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from live_transcription.call.targets import Targets
from live_transcription.capacity.load import CaptionInterval
from live_transcription.captions.floor import CaptionFloor
from live_transcription.observability import metrics
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.signaling.requests import Recipient
from live_transcription.transcript import Utterance
from live_transcription.types import Caption

#: Seconds before a message that a full outbox refused is tried again; the next caption tries it, too.
RETRY_S = 0.5


class CaptionSink(Protocol):
    """The signaling session."""

    @property
    def in_room(self) -> bool: ...
    def send_caption(self, recipient: Recipient, caption: Caption) -> bool: ...


class Lane:
    """Sends the messages of one language to its targets, in order, each to each target once.

    Each language has its own lane, so that one that has to wait, for a translation for example, does not hold up the others.
    Today all targets read the language that is spoken, so a call has one lane. `on_sent` is called when a message was sent to
    all its recipients.
    """

    def __init__(self, sink: CaptionSink, targets: Targets, on_sent: Callable[[Caption], None]) -> None:
        self._sink = sink
        self._targets = targets
        self._on_sent = on_sent
        # Messages that have not reached all their recipients, with the sessions that have received them.
        self._pending: deque[tuple[Caption, set[str]]] = deque()

    @property
    def blocked(self) -> bool:
        """Whether a message waits although the app is in the room: the outbox is full."""
        return bool(self._pending) and self._sink.in_room

    def add(self, caption: Caption) -> None:
        """Add a message; `flush` sends it."""
        self._pending.append((caption, set()))

    def flush(self, now: float) -> bool:
        """Send what is pending. Returns whether the lane can take the next message."""
        while self._pending and self._sink.in_room and self._send(*self._pending[0], now):
            self._pending.popleft()
        return not self._pending and self._sink.in_room

    def clear(self) -> int:
        """Drop what is pending. Returns the number of words."""
        words = sum(len(caption.text.split()) for caption, _ in self._pending)
        self._pending.clear()
        return words

    def _send(self, caption: Caption, served: set[str], now: float) -> bool:
        """Returns False if the outbox refused the message for some recipient."""
        for recipient in self._targets.recipients(caption.speaker, now, served):
            if not self._sink.send_caption(recipient, caption):
                return False
            served.update(self._targets.sessions(recipient, caption.speaker, now))
        if served:
            metrics.captions_sent.inc()
            self._on_sent(caption)
        return True


class CaptionDelivery:
    """Sends the speakers' committed words. Words that cannot be sent yet wait in the floor, which merges and bounds them."""

    def __init__(
        self,
        sink: CaptionSink,
        targets: Targets,
        *,
        on_sent: Callable[[Caption], None],
        interval: CaptionInterval | None = None,
    ) -> None:
        """`on_sent` is called when a message was sent to all its recipients; `interval` is longer under load."""
        self._sink = sink
        self._floor = CaptionFloor(interval)
        self._lane = Lane(sink, targets, on_sent)
        self._counted_bytes = self._counted_dropped = 0
        self._alarm = DeadlineTimer(self.flush)

    @property
    def blocked(self) -> bool:
        """Whether a full outbox keeps words from those who want them."""
        return self._lane.blocked

    def add(self, caption: Caption) -> None:
        """Add committed words of a speaker."""
        self._floor.offer(caption, self._now())
        self.flush()

    def end_utterance(self, utterance: Utterance) -> None:
        """The speaker has paused, so others may take the floor."""
        self._floor.end_utterance(utterance.speaker)
        self.flush()

    def leave(self, speaker: str, *, leaving: bool = True) -> None:
        """The speaker leaves: send the last words without waiting for the floor. `leaving=False`: the speaker is back."""
        self._floor.leave(speaker, leaving=leaving)
        self.flush()

    def forget(self, speaker: str) -> None:
        """No more words of this speaker will come."""
        self._floor.forget(speaker)
        self.flush()

    def flush(self) -> None:
        """Send all messages that are due."""
        now = self._now()
        # The floor keeps its words until the lane can take them, since it merges those of one speaker.
        while (ready := self._lane.flush(now)) and (message := self._floor.next_message(now)) is not None:
            if message.waited_s is not None:
                metrics.floor_wait_seconds.observe(message.waited_s)
            self._lane.add(message.caption)
        self._count()
        # A full outbox does not tell when it has room; coming back into the room does (`Call`).
        retry_at = now + RETRY_S if self._sink.in_room else None
        self._alarm.set(self._floor.next_deadline() if ready else retry_at)

    def close(self) -> None:
        """Send nothing more, and count what still waits as dropped."""
        self._alarm.cancel()
        self._floor.clear()
        self._count()
        metrics.words_dropped.inc(self._lane.clear())

    def _count(self) -> None:
        metrics.captions_waiting_bytes.inc(self._floor.waiting_bytes - self._counted_bytes)
        metrics.words_dropped.inc(self._floor.dropped_words - self._counted_dropped)
        self._counted_bytes, self._counted_dropped = self._floor.waiting_bytes, self._floor.dropped_words

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

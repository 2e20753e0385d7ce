# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Sends messages to their recipients in order, each to each target once, although the outbox may be full."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeAlias

from live_transcription.call.targets import Targets
from live_transcription.observability import metrics
from live_transcription.signaling.requests import Recipient
from live_transcription.types import Caption

#: Seconds before a message that a full outbox refused is tried again; the next caption tries it, too.
RETRY_S = 0.5


class CaptionSink(Protocol):
    """The signaling session."""

    @property
    def in_room(self) -> bool: ...
    def send_caption(self, recipient: Recipient, caption: Caption) -> bool: ...


#: The recipients of a message, by the current time and the sessions that have it already.
FindRecipients: TypeAlias = Callable[[float, Collection[str]], Sequence[Recipient]]


class Lane:
    """Sends messages to their recipients, in order, each to each target once.

    The captions as they are spoken have one lane, and each language that they are translated into has another one, so that none
    waits for the others. `on_sent` is called when a message was sent to all its recipients.
    """

    def __init__(self, sink: CaptionSink, targets: Targets, on_sent: Callable[[Caption], None]) -> None:
        self._sink = sink
        self._targets = targets
        self._on_sent = on_sent
        # Messages that have not reached all their recipients, with the sessions that have received them.
        self._pending: deque[tuple[Caption, FindRecipients, set[str]]] = deque()

    @property
    def blocked(self) -> bool:
        """Whether a message waits although the app is in the room: the outbox is full."""
        return bool(self._pending) and self._sink.in_room

    @property
    def empty(self) -> bool:
        """Whether every message has reached all its recipients."""
        return not self._pending

    def add(self, caption: Caption, recipients: FindRecipients) -> None:
        """Add a message; `flush` sends it."""
        self._pending.append((caption, recipients, set()))

    def flush(self, now: float) -> bool:
        """Send what is pending. Returns whether the lane can take the next message."""
        if self._targets.expects_any(now):
            return False
        while self._pending and self._sink.in_room and self._send(*self._pending[0], now):
            self._pending.popleft()
        return not self._pending and self._sink.in_room

    def clear(self) -> int:
        """Drop what is pending. Returns the number of words."""
        words = sum(len(caption.text.split()) for caption, _, _ in self._pending)
        self._pending.clear()
        return words

    def _send(self, caption: Caption, recipients: FindRecipients, served: set[str], now: float) -> bool:
        """Returns False if the outbox refused the message for some recipient."""
        for recipient in recipients(now, served):
            if not self._sink.send_caption(recipient, caption):
                return False
            served.update(self._targets.sessions(recipient, caption.speaker, now))
        if served:
            metrics.captions_sent.inc()
            self._on_sent(caption)
        return True

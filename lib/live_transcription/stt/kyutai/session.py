# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What the sessions of both dialects have in common. Sans-I/O: `WebsocketStream` moves the messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from live_transcription.errors import SttError
from live_transcription.stt.kyutai.steps import Steps
from live_transcription.transcript import SttEvent
from live_transcription.types import Frame

#: Messages to send, in order: binary ones, and text.
Messages: TypeAlias = Sequence[bytes | memoryview | str]


class Session(ABC):
    """The protocol state of one connection. Times are in seconds of a monotonic clock; `opened_at` is that of the handshake."""

    #: Whether audio may be sent.
    ready = True

    def __init__(self, opened_at: float) -> None:
        self._opened_at = opened_at
        self._audio = Steps()
        self._ending = False
        # One entry for each flush under way; its meaning depends on the dialect.
        self._flushes: deque[float] = deque()
        # Whether words were emitted since the last pause or flush. Without words, a pause means nothing.
        self._words_pending = False

    @property
    def acknowledged_s(self) -> float | None:
        """See `SttStream`."""
        return None

    @property
    def ended(self) -> bool:
        """Whether `end` was called and all words have arrived."""
        return self._ending and not self._flushes

    def behind_s(self, now: float) -> float:
        """See `SttStream`."""
        del now
        return 0.0

    def replaceable(self, now: float) -> bool:
        """Whether another session should replace this one at the next pause."""
        del now
        return False

    def send(self, frame: Frame, now: float) -> Messages:
        """Send a frame of any length. Audio beyond the last full step is buffered."""
        return self._messages(self._audio.push(frame), now)

    @abstractmethod
    def flush(self, now: float) -> Messages:
        """Send the buffered audio and silence that pushes the last words out. `Flushed` follows in the events."""

    def end(self, now: float) -> Messages:
        """Send the remaining audio. Afterwards the session ends as soon as all words have arrived."""
        self._ending = True
        return self.flush(now) if self._audio.unflushed else []

    @abstractmethod
    def receive(self, message: str | bytes, now: float) -> Sequence[SttEvent]:
        """Take a message of the server. Raises SttError if the server reports a failure, never if the message is malformed."""

    @abstractmethod
    def tick(self, now: float) -> Sequence[SttEvent]:
        """Return the events that are due at `next_deadline`. Raises SttStalled if the server has stopped working."""

    @abstractmethod
    def next_deadline(self) -> float | None:
        """When to call `tick` next; None if nothing waits for time."""

    @abstractmethod
    def closed(self, code: int | None, now: float) -> SttError:
        """The reason for which the server closed with this websocket close code (None: without a close frame)."""

    @abstractmethod
    def _messages(self, steps: Sequence[Frame], now: float) -> Messages:
        """Encode steps that are sent now."""

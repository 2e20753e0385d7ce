# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The engine's own abstraction of speech-to-text: a backend is a factory, a stream is one speaker's connection.

The silence gate (`stt.gate`) stands above the streams: a stream is opened when somebody speaks, gets `flush()` at each
pause, and is closed after long silence, so that no backend needs voice activity detection of its own.

Two families of engines speak through the same ordered events. Word streams (Kyutai) send `Token` and `Pause`; engines that
rewrite their hypothesis (Whisper) send `Hypothesis`. `captions.assembler` makes captions of either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from live_transcription.transcript import Flushed, Hypothesis, Pause, Restarted, SttEvent, Token
from live_transcription.types import Frame

__all__ = ["Flushed", "Hypothesis", "Pause", "Restarted", "SttBackend", "SttEvent", "SttStream", "Token"]


class SttStream(ABC):
    """One speaker's stream. Opened by `SttBackend.open_stream`, whose `async with` block owns its tasks and socket.

    Errors: every method may raise an `SttError`, which ends the stream; `retryable` says whether another one may do better.
    """

    @abstractmethod
    async def send(self, frame: Frame) -> None:
        """Take one frame (float32, 24 kHz mono, any length). Returns once there is room for more; buffers are bounded."""

    def send_now(self, frame: Frame) -> bool:
        """As `send`, at once or not at all: False where it would have to wait or to fail, and nothing was taken."""
        del frame
        return False

    @abstractmethod
    async def flush(self) -> None:
        """Ask for all that was sent to be transcribed now; `Flushed` follows in the events. Does not wait for it."""

    @abstractmethod
    async def end(self) -> None:
        """No more audio: what is open is transcribed, then the events end. Does not wait for it."""

    @abstractmethod
    def events(self) -> AsyncIterator[SttEvent]:
        """The events in order, for one reader; ends after `end()`; raises the stream's `SttError` when it fails."""

    @property
    def heard_s(self) -> float | None:
        """Seconds of the sent audio whose words have all been told; None where the backend cannot know."""
        return None

    @property
    def replaceable(self) -> bool:
        """Whether another stream would do better at the next pause: this one nears a limit, or a better backend is back."""
        return False

    @property
    def caught_up(self) -> bool:
        """Whether all that was sent and flushed has been told, so that ending the stream now cuts nothing off."""
        return True


class SttBackend(ABC):
    """A way to transcribe. Cheap to hold; shared by all speakers; safe to use from several tasks of one loop."""

    #: Short name for logs, metrics and settings: `modal`, `moshi`, `whisper`.
    name: str
    #: Codes of the languages it understands.
    languages: frozenset[str]

    @abstractmethod
    def open_stream(self, language: str) -> AbstractAsyncContextManager[SttStream]:
        """A stream for one speaker. Entering may take long (a cold start) and raises `SttError`; leaving drops what is open."""

    async def warm(self) -> None:
        """Get ready for a stream that comes soon: load weights, wake a GPU. Raises `SttError`. Called at each joined call."""
        return

    async def aclose(self) -> None:
        """Free what the backend holds; no stream is open any more."""
        return

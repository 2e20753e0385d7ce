# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The engine's abstraction of speech-to-text: a backend is a factory, a stream is one speaker's connection.

Above the streams is the silence gate (`vad.gate`): a stream is opened when somebody speaks, flushed at each pause, and closed
after a long silence, so no backend needs voice activity detection of its own.

Two families of engines produce the same ordered events. Word streams (Kyutai) send `Token` and `Pause`; engines that rewrite
their hypothesis (Whisper) send `Hypothesis`. `captions.assembler` turns either into captions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from live_transcription.transcript import Flushed, Hypothesis, Pause, Restarted, SttEvent, Token
from live_transcription.types import Frame

__all__ = [
    "Flushed",
    "Hints",
    "Hypothesis",
    "Pause",
    "Restarted",
    "SpeakerBackend",
    "SttBackend",
    "SttEvent",
    "SttStream",
    "Token",
]


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known about a speaker's next words. The values may change during a call.

    `spoken`: the language of the speaker's last utterance that was long enough to know it, None if there is none.
    """

    spoken: Callable[[], str | None] = lambda: None


class SttStream(ABC):
    """One speaker's stream, opened by `SttBackend.open_stream`, whose `async with` block owns its tasks and socket.

    Every method may raise an `SttError`, which ends the stream; its `retryable` says whether another stream may succeed.
    """

    @abstractmethod
    async def send(self, frame: Frame) -> None:
        """Send one frame (float32, 24 kHz mono, any length). Returns once there is room for more; buffers are bounded."""

    def mark_speech(self, active: bool) -> None:  # noqa: B027  only streams that judge an engine need it
        """Note whether the local voice detector finds speech in the frames that follow. Without a call, it is unknown."""

    @abstractmethod
    async def flush(self) -> None:
        """Request that all audio sent so far be transcribed now. Does not wait; `Flushed` follows in the events."""

    @abstractmethod
    async def end(self) -> None:
        """Announce that no more audio follows: the rest is transcribed, then the events end. Does not wait for that."""

    @abstractmethod
    def events(self) -> AsyncIterator[SttEvent]:
        """The events in order, for one reader. Ends after `end()`; raises the stream's `SttError` if it fails."""

    @property
    def acknowledged_s(self) -> float | None:
        """Seconds of the sent audio whose words have all been emitted; None if the backend cannot know."""
        return None

    @property
    def behind_s(self) -> float:
        """Seconds of the sent audio whose words may still be missing, although the model's delay has passed.

        Only for a backend without `acknowledged_s`; 0 if it is known to keep up.
        """
        return 0.0

    @property
    def replaceable(self) -> bool:
        """Whether the stream should be replaced at the next pause: it nears a limit, or a better backend is available."""
        return False

    @property
    def caught_up(self) -> bool:
        """Whether all audio that was sent and flushed has been transcribed, so that ending the stream now loses nothing."""
        return True


class SttBackend(ABC):
    """A way to transcribe. Shared by all speakers, safe to use from several tasks of one event loop."""

    #: Short name for logs, metrics and settings: `modal`, `moshi`, `whisper`.
    name: str
    #: Codes of the languages that the backend understands.
    languages: frozenset[str]
    #: Whether a server transcribes. Some of its faults show only in the words that it sends.
    remote: bool = True

    def for_speaker(self, hints: Hints = Hints()) -> SttBackend:  # noqa: ARG002  frozen
        """This backend for the consecutive streams of one speaker, if it uses hints or remembers what failed for them."""
        return self

    @abstractmethod
    def open_stream(self, language: str) -> AbstractAsyncContextManager[SttStream]:
        """Open a stream for one speaker. Entering may take long (a cold start) and raises `SttError`.

        Leaving the block discards what has not been transcribed yet.
        """

    @property
    def capacity(self) -> int | None:
        """The number of speakers that it can transcribe at the same time; None if that is unknown."""
        return None

    async def warm(self) -> None:
        """Prepare for a stream that will be opened soon: load weights, start a GPU. Called for each joined call.

        Raises `SttError`.
        """
        return

    async def aclose(self) -> None:
        """Release all resources. No stream is open any more."""
        return


class SpeakerBackend(SttBackend):
    """A backend for the streams of one speaker. `open_stream` opens one of them."""

    def __init__(self, backend: SttBackend, open_stream: Callable[[str], AbstractAsyncContextManager[SttStream]]) -> None:
        self.name = backend.name
        self.languages = backend.languages
        self.remote = backend.remote
        self._open_stream = open_stream

    def open_stream(self, language: str) -> AbstractAsyncContextManager[SttStream]:
        return self._open_stream(language)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The silence gate: only speech reaches a backend, and streams are closed in longer silence. Pure: the audio is the clock.

Frames go in, actions come out:

Silence --speech for `onset_s`--> speech (open a stream if none is open, send the pre-roll) --silence for `hangover_s`--> flush
--silence for `close_s`--> close the stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from live_transcription.types import SAMPLE_RATE, Frame


class FrameDetector(Protocol):
    """Voice activity detection that examines each frame."""

    def probability(self, frame: Frame) -> float:
        """Return the probability of speech in a frame, in [0, 1]."""

    def reset(self) -> None:
        """Forget the audio so far, since the next frame does not continue it."""


@runtime_checkable
class ActivityDetector(Protocol):
    """Voice activity detection that examines audio only when it is asked, so it can leave out what makes no difference.

    After each `push`, `speech_for` is called in silence, or `silence_for` in speech.
    """

    def push(self, frame: Frame) -> None:
        """Add the next frame."""

    def speech_for(self, seconds: float) -> bool:
        """Return whether there has been speech without interruption for the last `seconds`."""

    def silence_for(self, seconds: float) -> bool:
        """Return whether there has been no speech for the last `seconds`."""

    def reset(self) -> None:
        """Forget the audio so far, since the next frame does not continue it."""


#: The kinds of voice activity detection that the gate accepts.
Detector: TypeAlias = FrameDetector | ActivityDetector


class AlwaysSpeech:
    """A detector that finds speech in every frame. The gate stays open, and the engine detects pauses."""

    def probability(self, frame: Frame) -> float:  # noqa: ARG002
        return 1.0

    def reset(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Speech has begun and no stream is open."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Frames to send, in order: the pre-roll, speech, and silence up to a flush. `pre_roll`: they may be silence."""

    frames: Sequence[Frame] = field(repr=False)
    pre_roll: bool = False


@dataclass(frozen=True, slots=True)
class Flush:
    """Speech has ended."""


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Silence has lasted too long to keep the stream open."""


GateAction: TypeAlias = OpenStream | Speech | Flush | CloseStream


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Thresholds of the gate: probabilities of a `FrameDetector`, and durations in seconds."""

    #: Probability at which speech begins, and the lower one down to which it continues.
    start: float = 0.5
    stop: float = 0.35
    #: Speech shorter than this does not count, so that a click opens no stream.
    onset_s: float = 0.12
    #: Audio before the onset that is sent along with it, so that no word loses its beginning.
    pre_roll_s: float = 0.5
    #: Silence that ends speech.
    hangover_s: float = 0.55
    #: Silence after which an open stream is closed.
    close_s: float = 22.0


class _ByFrame:
    """Adapts a `FrameDetector` to `ActivityDetector`."""

    def __init__(self, detector: FrameDetector, limits: GateLimits) -> None:
        self._detector = detector
        self._limits = limits
        self._speech_s = 0.0
        self._silence_s = 0.0

    def push(self, frame: Frame) -> None:
        probability = self._detector.probability(frame)
        duration_s = len(frame) / SAMPLE_RATE
        self._speech_s = self._speech_s + duration_s if probability >= self._limits.start else 0.0
        self._silence_s = 0.0 if probability >= self._limits.stop else self._silence_s + duration_s

    def speech_for(self, seconds: float) -> bool:
        return self._speech_s >= seconds

    def silence_for(self, seconds: float) -> bool:
        return self._silence_s >= seconds

    def reset(self) -> None:
        self._detector.reset()
        self._speech_s = self._silence_s = 0.0


class SilenceGate:
    """The silence gate of one speaker."""

    def __init__(self, detector: Detector, limits: GateLimits | None = None) -> None:
        self.limits = limits or GateLimits()
        self._detector = detector if isinstance(detector, ActivityDetector) else _ByFrame(detector, self.limits)
        self._pre_roll: deque[Frame] = deque()
        self._pre_roll_samples = 0
        self._silent_s = 0.0
        #: Whether speech is in progress, so that a flush is still to come.
        self.speaking = False
        self._open = False
        self._passed = 0
        self._saved = 0

    @property
    def passed_s(self) -> float:
        """Seconds of audio that passed the gate."""
        return self._passed / SAMPLE_RATE

    @property
    def saved_s(self) -> float:
        """Seconds of audio that did not pass the gate."""
        return self._saved / SAMPLE_RATE

    def push(self, frame: Frame) -> Sequence[GateAction]:
        """Add the next frame (float32, 24 kHz mono, any length up to about 200 ms) and return what to do."""
        self._detector.push(frame)
        return self._while_speaking(frame) if self.speaking else self._while_silent(frame)

    def stalled(self) -> Sequence[GateAction]:
        """End speech, if any, since no frame has come for longer than network jitter explains: a mute stops RTP."""
        self._detector.reset()
        if not self.speaking:
            return []
        self._end_speech()
        return [Flush()]

    def reset(self) -> None:
        """Note that the stream is gone or will be closed by the caller. Continued speech opens another one, with pre-roll."""
        self._open = False
        self._end_speech()

    def forget(self) -> None:
        """Drop the pre-roll and the detector's history, since the next frame does not continue the previous ones."""
        self._detector.reset()
        self._pre_roll.clear()
        self._pre_roll_samples = 0

    def keep_open(self) -> None:
        """Keep the stream open that was to be closed, since it is still busy. The next silence closes it."""
        self._open = True

    def _while_speaking(self, frame: Frame) -> Sequence[GateAction]:
        self._passed += len(frame)
        if not self._detector.silence_for(self.limits.hangover_s):
            return [Speech([frame])]
        self._end_speech()
        return [Speech([frame]), Flush()]

    def _while_silent(self, frame: Frame) -> Sequence[GateAction]:
        self._buffer(frame)
        self._silent_s += len(frame) / SAMPLE_RATE
        if self._detector.speech_for(self.limits.onset_s):
            return self._begin_speech()
        if self._open and self._silent_s >= self.limits.close_s:
            self._open = False
            return [CloseStream()]
        return []

    def _begin_speech(self) -> Sequence[GateAction]:
        frames = tuple(self._pre_roll)
        self._passed += self._pre_roll_samples
        self._saved -= self._pre_roll_samples
        self._pre_roll.clear()
        self._pre_roll_samples = 0
        self.speaking = True
        self._silent_s = 0.0
        actions: list[GateAction] = [] if self._open else [OpenStream()]
        self._open = True
        return [*actions, Speech(frames, pre_roll=True)]

    def _end_speech(self) -> None:
        self.speaking = False
        self._silent_s = 0.0

    def _buffer(self, frame: Frame) -> None:
        self._saved += len(frame)
        self._pre_roll.append(frame)
        self._pre_roll_samples += len(frame)
        limit = round((self.limits.pre_roll_s + self.limits.onset_s) * SAMPLE_RATE)
        while len(self._pre_roll) > 1 and self._pre_roll_samples - len(self._pre_roll[0]) >= limit:
            self._pre_roll_samples -= len(self._pre_roll.popleft())

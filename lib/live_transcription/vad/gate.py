# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The silence gate: only speech reaches a backend, and a stream is open only while there is speech now and then.

Pure: no clock but the audio itself. Frames in, actions out.

Silence ──speech for `onset_s`──> Speech (opens a stream if none is open, sends the pre-roll) ──silence for `hangover_s`──>
flush ──silence for `close_s`──> close.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from live_transcription.types import SAMPLE_RATE, Frame


class FrameDetector(Protocol):
    """Voice activity detection that judges frame by frame."""

    def probability(self, frame: Frame) -> float:
        """How likely the frame holds speech, in [0, 1]."""

    def reset(self) -> None:
        """The next frame does not follow on the last."""


@runtime_checkable
class ActivityDetector(Protocol):
    """Voice activity detection that judges when it is asked, and so may leave out what makes no difference.

    Each frame is pushed; after it `speech_for` is asked while there is silence, `silence_for` while there is speech.
    """

    def push(self, frame: Frame) -> None:
        """Take the next frame."""

    def speech_for(self, seconds: float) -> bool:
        """Has there been uninterrupted speech for the last `seconds`?"""

    def silence_for(self, seconds: float) -> bool:
        """Has there been no speech for the last `seconds`?"""

    def reset(self) -> None:
        """The next frame does not follow on the last."""


#: The kinds of voice activity detection that the gate accepts.
Detector: TypeAlias = FrameDetector | ActivityDetector


class AlwaysSpeech:
    """A detector that reports speech in every frame: the gate stays open, and the engine detects pauses."""

    def probability(self, frame: Frame) -> float:
        del frame
        return 1.0

    def reset(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Speech began and no stream is open."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Frames to send, in order: pre-roll, speech, and the silence up to a flush."""

    frames: Sequence[Frame] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Flush:
    """Speech ended."""


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Silence has lasted too long for an open stream."""


GateAction: TypeAlias = OpenStream | Speech | Flush | CloseStream


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Probabilities, for detectors that judge frame by frame: `start` begins speech, `stop` (lower) keeps it going. Seconds:

    `onset_s`: speech that must be there before it counts, so that a click opens nothing; it is not lost, as the last
    `pre_roll_s` go along. `hangover_s`: silence that ends speech.
    """

    start: float = 0.5
    stop: float = 0.35
    onset_s: float = 0.12
    pre_roll_s: float = 0.5
    hangover_s: float = 0.55
    close_s: float = 22.0


class _ByFrame:
    """A frame detector's probabilities, as answers."""

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
    """One speaker's gate."""

    def __init__(self, detector: Detector, limits: GateLimits | None = None) -> None:
        self.limits = limits or GateLimits()
        self._detector = detector if isinstance(detector, ActivityDetector) else _ByFrame(detector, self.limits)
        self._pre_roll: deque[Frame] = deque()
        self._pre_roll_samples = 0
        self._silent_s = 0.0
        self._speaking = False
        self._open = False
        self._passed = 0
        self._saved = 0

    @property
    def speaking(self) -> bool:
        """Speech is under way: a flush is still to come."""
        return self._speaking

    @property
    def passed_s(self) -> float:
        """Seconds of audio that were sent on."""
        return self._passed / SAMPLE_RATE

    @property
    def saved_s(self) -> float:
        """Seconds of audio that were kept from the backend."""
        return self._saved / SAMPLE_RATE

    def push(self, frame: Frame) -> Sequence[GateAction]:
        """Take the next frame (float32, 24 kHz mono, any length up to some 200 ms) and say what to do."""
        self._detector.push(frame)
        return self._while_speaking(frame) if self._speaking else self._while_silent(frame)

    def stalled(self) -> Sequence[GateAction]:
        """No frame came for longer than a network hiccup explains (a mute stops RTP): speech, if any, has ended."""
        self._detector.reset()
        if not self._speaking:
            return []
        self._end_speech()
        return [Flush()]

    def reset(self) -> None:
        """The stream is gone or will be ended by the caller. Speech that goes on opens another one, with pre-roll."""
        self._open = False
        self._end_speech()

    def forget(self) -> None:
        """Drop the history: the next frame does not continue the previous ones."""
        self._detector.reset()
        self._pre_roll.clear()
        self._pre_roll_samples = 0

    def keep_open(self) -> None:
        """The stream that was to be closed is still busy; it is asked to close again with the next silence."""
        self._open = True

    def _while_speaking(self, frame: Frame) -> Sequence[GateAction]:
        self._passed += len(frame)
        if not self._detector.silence_for(self.limits.hangover_s):
            return [Speech([frame])]
        self._end_speech()
        return [Speech([frame]), Flush()]

    def _while_silent(self, frame: Frame) -> Sequence[GateAction]:
        self._keep(frame)
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
        self._speaking = True
        self._silent_s = 0.0
        actions: list[GateAction] = [] if self._open else [OpenStream()]
        self._open = True
        return [*actions, Speech(frames)]

    def _end_speech(self) -> None:
        self._speaking = False
        self._silent_s = 0.0

    def _keep(self, frame: Frame) -> None:
        self._saved += len(frame)
        self._pre_roll.append(frame)
        self._pre_roll_samples += len(frame)
        limit = round((self.limits.pre_roll_s + self.limits.onset_s) * SAMPLE_RATE)
        while len(self._pre_roll) > 1 and self._pre_roll_samples - len(self._pre_roll[0]) >= limit:
            self._pre_roll_samples -= len(self._pre_roll.popleft())

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Kyutai's models work in steps of 80 ms. This module cuts audio into steps and maps the server's time to stream time. Pure."""

from __future__ import annotations

from collections import deque

import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame

#: The languages of the models, which detect by themselves which of them they hear.
SPOKEN = frozenset({"en", "fr"})
#: Samples of one model step: 80 ms at 24 kHz.
STEP_SAMPLES = 1920
#: Seconds of one model step.
STEP_S = STEP_SAMPLES / SAMPLE_RATE
#: Steps of silence that push the last words out of the 1B model: its delay of 0.48 s, and two more.
FLUSH_STEPS = 8
#: Seconds by which the words of the 1B model lag behind the audio.
MODEL_DELAY_S = 0.48
#: Number of flushes to remember. Nobody asks for times that are older than so many flushes.
_REMEMBERED_FLUSHES = 64

#: A step of silence.
SILENCE: Frame = np.zeros(STEP_SAMPLES, np.float32)


class StreamTime:
    """Maps seconds of the audio that the server received to seconds of the audio that the speaker sent.

    The two differ by the silence that was inserted to flush the model.
    """

    def __init__(self) -> None:
        # For each insertion: its position in server seconds, its length, and the total length of all earlier insertions.
        self._insertions: deque[tuple[float, float, float]] = deque(maxlen=_REMEMBERED_FLUSHES)
        self._inserted_s = 0.0

    def insert(self, at_s: float, silence_s: float) -> None:
        """Note that `silence_s` seconds of silence begin at `at_s`, in server seconds. Positions must not decrease."""
        self._insertions.append((at_s, silence_s, self._inserted_s))
        self._inserted_s += silence_s

    def to_stream(self, server_s: float) -> float:
        """Convert a server time. A time within inserted silence maps to the point of insertion. Never negative."""
        for at_s, silence_s, before_s in reversed(self._insertions):
            if server_s >= at_s:
                return max(0.0, max(at_s, server_s - silence_s) - before_s)
        before_s = self._insertions[0][2] if self._insertions else 0.0
        return max(0.0, server_s - before_s)


class Steps:
    """The audio of one session as the server receives it: whole steps, and silence after each flush.

    `sent` is the number of steps handed out, silence included.
    """

    def __init__(self) -> None:
        self.sent = 0
        self._rest: Frame = np.empty(0, np.float32)
        #: Whether audio was pushed since the last flush.
        self.unflushed = False
        self._time = StreamTime()

    def push(self, frame: Frame) -> list[Frame]:
        """Take a frame of any length and return all complete steps (float32, shape (1920,)); the remainder is buffered."""
        self.unflushed = True
        if not len(self._rest) and len(frame) == STEP_SAMPLES:
            steps = [frame]  # the usual case, without a copy
        else:
            audio = np.concatenate((self._rest, frame))
            full = len(audio) - len(audio) % STEP_SAMPLES
            self._rest = audio[full:].copy()
            steps = [audio[start : start + STEP_SAMPLES] for start in range(0, full, STEP_SAMPLES)]
        self.sent += len(steps)
        return steps

    def flush(self) -> list[Frame]:
        """Return the buffered remainder, padded to a step, and silence that flushes the model; nothing if all is flushed."""
        if not self.unflushed:
            return []
        self.unflushed = False
        padding = -len(self._rest) % STEP_SAMPLES
        steps = [np.concatenate((self._rest, SILENCE[:padding]))] if len(self._rest) else []
        self._rest = self._rest[:0]
        steps += [SILENCE] * FLUSH_STEPS
        self.sent += len(steps)
        silence_s = padding / SAMPLE_RATE + FLUSH_STEPS * STEP_S
        self._time.insert(self.sent * STEP_S - silence_s, silence_s)
        return steps

    def to_stream(self, server_s: float | None) -> float | None:
        """Convert a server time to stream time (see `StreamTime`); None stays None."""
        return None if server_s is None else self._time.to_stream(server_s)

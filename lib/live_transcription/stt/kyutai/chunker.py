# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Frames of any length to messages of exactly 80 ms, the step of Kyutai's models. Pure."""

from __future__ import annotations

import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame

#: Samples of one model step: 80 ms at 24 kHz.
STEP_SAMPLES = 1920
#: Seconds of one model step.
STEP_S = STEP_SAMPLES / SAMPLE_RATE
#: Steps of silence that push the last words out of the 1B model: its delay of 0.48 s and two to spare.
FLUSH_STEPS = 8
#: How far the words of the 1B model are behind the audio, in seconds.
MODEL_DELAY_S = 0.48


class Chunker:
    """Cuts audio into chunks of `STEP_SAMPLES`."""

    def __init__(self) -> None:
        self._rest: Frame = np.empty(0, np.float32)

    @property
    def pending(self) -> int:
        """Samples that wait for a full chunk."""
        return len(self._rest)

    def push(self, frame: Frame) -> list[Frame]:
        """The full chunks there are now (float32, shape (1920,)); a frame that is one already is given back as it is."""
        if not len(self._rest) and len(frame) == STEP_SAMPLES:
            return [frame]
        audio = np.concatenate((self._rest, frame))
        full = len(audio) - len(audio) % STEP_SAMPLES
        self._rest = audio[full:].copy()
        return [audio[start : start + STEP_SAMPLES] for start in range(0, full, STEP_SAMPLES)]

    def pad(self) -> tuple[list[Frame], int]:
        """The rest as a chunk filled up with silence, if there is any, and how many samples of silence that took."""
        if not len(self._rest):
            return [], 0
        silence = STEP_SAMPLES - len(self._rest)
        chunk = np.concatenate((self._rest, np.zeros(silence, np.float32)))
        self._rest = self._rest[:0]
        return [chunk], silence

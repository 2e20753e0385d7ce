# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Audio that the handmade weights understand: a burst of tone per word, and silence between them."""

from __future__ import annotations

import numpy as np

from live_transcription.stt.kyutai.steps import STEP_SAMPLES
from live_transcription.types import SAMPLE_RATE, Frame
from sandbox.moshi_server.weights import POISON_LEVEL, WORDS, loudness

#: Not one of the model's words: it ends the server's model loop.
POISON = "(poison)"
#: Frames of tone of a word, and of silence after it.
WORD_FRAMES = 3
GAP_FRAMES = 2
#: Half a period of the tone, a square wave, in samples; a frame holds 32 of them.
_HALF_PERIOD = 60


def tone(level: int, frames: float) -> Frame:
    """A square wave that is measured as `level` of loudness, so many frames long."""
    samples = np.arange(round(frames * STEP_SAMPLES))
    signs = np.where(samples // _HALF_PERIOD % 2, -1.0, 1.0)
    return (loudness(level) * signs).astype(np.float32)


def silence(frames: float) -> Frame:
    return np.zeros(round(frames * STEP_SAMPLES), np.float32)


#: Silence that brings the last words without a flush.
TAIL_FRAMES = 9


def say(*words: str, frames: float = WORD_FRAMES, gap: float = GAP_FRAMES) -> Frame:
    """Float32, 24 kHz mono: each word `frames` long and followed by `gap` frames of silence, the last one, too."""
    parts = []
    for word in words:
        level = POISON_LEVEL if word == POISON else WORDS.index(word) + 1
        parts += [tone(level, frames), silence(gap)]
    return np.concatenate(parts)


def seconds(audio: Frame) -> float:
    return len(audio) / SAMPLE_RATE

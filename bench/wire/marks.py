# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Marks that identify a frame's speaker and number, written into its first two samples: inaudible, and exact as float32."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from live_transcription.types import Frame

_SPEAKERS = 4096
_FRAMES = 65536


class Mark(NamedTuple):
    speaker: int
    frame: int


def mark(frame: Frame, speaker: int, number: int) -> Frame:
    """A copy that carries the mark; `number` from 0 on, below 32768."""
    marked = frame.copy()
    marked[0] = (speaker + 1) / _SPEAKERS
    marked[1] = (number + 1) / _FRAMES
    return marked


def read_mark(samples: Frame) -> Mark | None:
    """Of a frame's first two samples; None for silence that was put in."""
    speaker, frame = (float(value) for value in np.asarray(samples[:2]))
    if speaker <= 0 or frame <= 0:
        return None
    return Mark(round(speaker * _SPEAKERS) - 1, round(frame * _FRAMES) - 1)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The recording that the self-test sends to an engine."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame

#: What the recording says; see `recordings/README.md`.
TEXT = "I'm sorry, but I was unable to locate the person you are calling."
LANGUAGE = "en"
_FILE = Path(__file__).parent / "recordings" / "test-phrase.ogg"


def load_speech() -> Frame:
    """Four seconds with 3.5 s of speech: float32, 24 kHz, mono. Blocks for a few milliseconds; call it in a thread."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    parts: list[Frame] = []
    with av.open(str(_FILE)) as container:
        for frame in container.decode(audio=0):
            parts += [_samples(resampled) for resampled in resampler.resample(frame)]
        parts += [_samples(resampled) for resampled in resampler.resample(None)]
    return np.concatenate(parts)


def _samples(frame: av.AudioFrame) -> Frame:
    return frame.to_ndarray().ravel().astype(np.float32)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Real speech with transcripts, from `sandbox/recordings/` (made by `scripts/make_recordings.py`; credits in its README)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soxr

DIRECTORY = Path(__file__).resolve().parent / "recordings"

#: Those of a minute and more.
LONG = ("en-conference", "fr-conference", "en-novel")
#: Rate in Hz that Ogg Opus is decoded at.
OPUS_RATE = 48_000


@dataclass(frozen=True, slots=True)
class Utterance:
    """`start_s`, `end_s`: onset of the first and end of the last sound. `speech`: its stretches, apart by 0.3 s and more."""

    start_s: float
    end_s: float
    text: str
    speech: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """One speaker's recording. `language` is a code such as `en`; times are seconds from its start."""

    name: str
    language: str
    licence: str
    source: str
    credits: str
    duration_s: float
    utterances: tuple[Utterance, ...]

    @property
    def text(self) -> str:
        return " ".join(utterance.text for utterance in self.utterances)

    @property
    def path(self) -> Path:
        return DIRECTORY / f"{self.name}.ogg"

    def pcm(self, rate: int = OPUS_RATE) -> npt.NDArray[np.float32]:
        """Mono float32 in [-1, 1], shape (samples,), at `rate` Hz; a read-only array that callers share."""
        return _pcm(self.path, rate)


def names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.json")))


def load(name: str) -> Recording:
    """Raises FileNotFoundError for a name that is not in `names()`."""
    found = json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))
    return Recording(
        name=name,
        language=found["language"],
        licence=found["licence"],
        source=found["source"],
        credits=found["credits"],
        duration_s=found["duration_s"],
        utterances=tuple(
            Utterance(
                start_s=utterance["start_s"],
                end_s=utterance["end_s"],
                text=utterance["text"],
                speech=tuple((start, end) for start, end in utterance["speech"]),
            )
            for utterance in found["utterances"]
        ),
    )


@lru_cache(maxsize=16)
def _pcm(path: Path, rate: int) -> npt.NDArray[np.float32]:
    with av.open(str(path)) as container:
        pieces = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    samples = np.concatenate(pieces).astype(np.float32)
    if rate != OPUS_RATE:
        samples = soxr.resample(samples, OPUS_RATE, rate).astype(np.float32)
    samples.flags.writeable = False
    return samples

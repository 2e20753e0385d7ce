# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Finds the words of known recordings in the received audio: true captions with almost no CPU.

A client may leave out silences, begin anywhere, and repeat itself after an outage; the audio may have been through Opus. So
each stretch of sound is looked up by its waveform: where the recording continues as expected, a dot product says so; else a
cross-correlation over all recordings finds the place. Sound that is in no recording has no words.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from live_transcription.types import SAMPLE_RATE, Frame
from sandbox.recording import Recording
from sandbox.stt_servers.words import FRAME_S, FRAME_SAMPLES, HeardWord, WordSource, WordSources, words_of

#: The waveforms are compared at 4 kHz, which leaves enough of a voice to tell two places apart.
_THINNING = 6
_RATE = SAMPLE_RATE // _THINNING
_FRAME = FRAME_SAMPLES // _THINNING

#: Frames that are looked up together (0.4 s), and how alike the waveforms must be in [0, 1].
_PROBE_FRAMES = 5
_ALIKE = 0.6
_SURELY = 0.85
_FOLLOWS = 0.35

#: Samples at 4 kHz that a clock may drift from one frame to the next.
_SLACK = 8

_QUIET_RMS = 0.003

_Samples: TypeAlias = npt.NDArray[np.float32]
_Spectrum: TypeAlias = npt.NDArray[np.complexfloating[Any, Any]]
_Likeness: TypeAlias = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """A recording at 4 kHz. `spectrum`, `energy`: of the whole, and of each stretch as long as a probe, to search it fast."""

    samples: _Samples
    spectrum: _Spectrum
    energy: npt.NDArray[np.float64]
    words: tuple[HeardWord, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """`offset`: sample of the recording (4 kHz) at which the session's next frame begins, give or take `_SLACK`."""

    known: _Known
    offset: int


class LocatedWords(WordSource):
    def __init__(self, known: Sequence[_Known]) -> None:
        self._known = known
        self._frames = 0
        self._probe: list[_Samples] = []
        self._place: _Place | None = None
        self._last: _Known | None = None
        self._words: list[HeardWord] = []

    @property
    def settled_s(self) -> float:
        return math.inf

    def feed(self, frame: Frame) -> None:
        self._frames += 1
        samples = _thin(frame)
        following = self._follow(samples) if self._place is not None else None
        if following is not None:
            self._advance(following)
            return
        self._place = None
        if not self._probe and float(np.sqrt(np.mean(np.square(samples)))) < _QUIET_RMS:
            return
        self._probe.append(samples)
        if len(self._probe) < _PROBE_FRAMES:
            return
        found = self._search(np.concatenate(self._probe))
        if found is None:
            del self._probe[:2]
            return
        self._probe = []
        self._place = found
        self._advance(_Place(found.known, found.offset + _PROBE_FRAMES * _FRAME))

    def take_words(self, until_s: float) -> list[HeardWord]:
        taken = [word for word in self._words if word.end_s <= until_s]
        self._words = [word for word in self._words if word.end_s > until_s]
        return taken

    def _advance(self, place: _Place) -> None:
        """The recording has been received up to `place` by the end of this frame."""
        if self._place is None:
            return
        begin_s, end_s = self._place.offset / _RATE, place.offset / _RATE
        shift = self._frames * FRAME_S - end_s
        for word in place.known.words:
            if begin_s < word.end_s <= end_s:
                self._words.append(HeardWord(word.text, max(0.0, word.start_s + shift), word.end_s + shift))
        self._place = place

    def _follow(self, samples: _Samples) -> _Place | None:
        """Where the next frame begins, if this one is what the recording goes on with."""
        assert self._place is not None
        known, offset = self._place.known, self._place.offset
        if offset + _FRAME > len(known.samples):
            return None
        quiet = _QUIET_RMS * math.sqrt(_FRAME)
        if float(np.linalg.norm(samples)) < quiet:
            expected = float(np.linalg.norm(known.samples[offset : offset + _FRAME]))
            return _Place(known, offset + _FRAME) if expected < 3 * quiet else None
        begin = max(0, offset - _SLACK)
        alike = _alike(samples, known.samples[begin : offset + _FRAME + _SLACK])
        best = int(np.argmax(alike))
        return _Place(known, begin + best + _FRAME) if alike[best] >= _FOLLOWS else None

    def _search(self, probe: _Samples) -> _Place | None:
        """The place that is most like the probe; the most recent recording is searched first."""
        best: tuple[float, _Place] | None = None
        for known in sorted(self._known, key=lambda known: known is not self._last):
            if len(known.energy) == 0:
                continue
            alike = _likeness(_correlation(probe, known.spectrum)[: len(known.energy)], known.energy, probe)
            place = int(np.argmax(alike))
            if best is None or alike[place] > best[0]:
                best = (float(alike[place]), _Place(known, place))
            if alike[place] >= _SURELY:
                break
        if best is None or best[0] < _ALIKE:
            return None
        self._last = best[1].known
        return best[1]


def located(recordings: Sequence[Recording]) -> WordSources:
    known = [_known(recording) for recording in recordings]

    @contextlib.asynccontextmanager
    async def open_source(_settled: Callable[[], None]) -> AsyncIterator[WordSource]:
        yield LocatedWords(known)

    return open_source


@lru_cache(maxsize=16)
def _known(recording: Recording) -> _Known:
    samples = _thin(recording.pcm(SAMPLE_RATE))
    probe = _PROBE_FRAMES * _FRAME
    size = 1 << (len(samples) + probe - 1).bit_length()
    return _Known(samples, np.fft.rfft(samples, size), _energy(samples, probe), tuple(words_of(recording)))


def _thin(samples: npt.NDArray[np.float32]) -> _Samples:
    """Means of six: a low-pass good enough for what both sides go through alike."""
    whole = len(samples) // _THINNING * _THINNING
    thinned: _Samples = samples[:whole].reshape(-1, _THINNING).mean(axis=1, dtype=np.float32)
    return thinned


def _alike(probe: _Samples, within: _Samples) -> _Likeness:
    """Normalised cross-correlation at each place of a short stretch at which the whole probe fits."""
    if len(within) < len(probe):
        return np.zeros(1)
    return _likeness(np.correlate(within, probe, "valid"), _energy(within, len(probe)), probe)


def _correlation(probe: _Samples, spectrum: _Spectrum) -> _Likeness:
    size = 2 * (len(spectrum) - 1)
    correlation: _Likeness = np.fft.irfft(spectrum * np.conj(np.fft.rfft(probe, size)), size)
    return correlation


def _likeness(correlation: _Likeness, energy: npt.NDArray[np.float64], probe: _Samples) -> _Likeness:
    """In [-1, 1]; 0 near silence, where everything is alike."""
    norm = np.sqrt(energy) * float(np.linalg.norm(probe))
    silent = norm < _QUIET_RMS**2 * len(probe)
    likeness: _Likeness = np.where(silent, 0.0, correlation / np.where(silent, 1.0, norm))
    return likeness


def _energy(samples: _Samples, length: int) -> npt.NDArray[np.float64]:
    """The sum of squares of each stretch of this length."""
    sums = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    energy: npt.NDArray[np.float64] = np.maximum(sums[length:] - sums[:-length], 0.0)
    return energy

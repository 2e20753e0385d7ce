# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Words of a known recording, found again in whatever part of it arrives: true captions for next to no CPU.

A client may leave out silences, begin anywhere, and repeat itself after an outage; the audio may have been through Opus. So
each stretch of sound is looked up by its waveform: where the recording goes on as expected, a dot product says so; else a
cross-correlation over all recordings finds the place. Sound that is in no recording has no words.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

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
_FOLLOWS = 0.35

#: Samples at 4 kHz that a clock may drift from one frame to the next.
_SLACK = 8

_QUIET_RMS = 0.003

_Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    samples: _Samples
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
        """The recording was heard up to `place` by the end of this frame, from where it was before."""
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
        best: tuple[float, _Place] | None = None
        for known in self._known:
            alike = _alike(probe, known.samples)
            place = int(np.argmax(alike))
            if best is None or alike[place] > best[0]:
                best = (float(alike[place]), _Place(known, place))
        return best[1] if best is not None and best[0] >= _ALIKE else None


def located(recordings: Sequence[Recording]) -> WordSources:
    known = [_known(recording) for recording in recordings]

    @contextlib.asynccontextmanager
    async def open_source(_settled: Callable[[], None]) -> AsyncIterator[WordSource]:
        yield LocatedWords(known)

    return open_source


@lru_cache(maxsize=16)
def _known(recording: Recording) -> _Known:
    return _Known(_thin(recording.pcm(SAMPLE_RATE)), tuple(words_of(recording)))


def _thin(samples: npt.NDArray[np.float32]) -> _Samples:
    """Means of six: a low-pass good enough for what both sides go through alike."""
    whole = len(samples) // _THINNING * _THINNING
    thinned: _Samples = samples[:whole].reshape(-1, _THINNING).mean(axis=1, dtype=np.float32)
    return thinned


def _alike(probe: _Samples, within: _Samples) -> npt.NDArray[np.float64]:
    """Normalised cross-correlation at each place of `within` at which the whole probe fits; near silence it is 0."""
    if len(within) < len(probe):
        return np.zeros(1)
    size = 1 << (len(within) + len(probe) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(within, size) * np.conj(np.fft.rfft(probe, size)), size)
    correlation = product[: len(within) - len(probe) + 1]
    energy = np.concatenate([[0.0], np.cumsum(np.square(within, dtype=np.float64))])
    energy = energy[len(probe) :] - energy[: -len(probe)]
    norm = np.sqrt(np.maximum(energy, 0.0)) * float(np.linalg.norm(probe))
    silent = norm < _QUIET_RMS**2 * len(probe)
    return np.where(silent, 0.0, correlation / np.where(silent, 1.0, norm))

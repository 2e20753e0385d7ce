# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One utterance's audio: how loud it is where, whether it has fallen silent, and where to cut it if it grows too long."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from live_transcription.stt.embedded.recogniser import RATE, Samples

#: Step of the loudness curve, in seconds and samples.
HOP_S = 0.01
_HOP = round(RATE * HOP_S)

#: Quiet is so many dB below the utterance's loud parts (the 90th percentile of its curve).
QUIET_DB = 27.0
#: dBFS below which an utterance as a whole is silence.
SILENCE_DB = -62.0


class Utterance:
    """Audio from `start_s` of the stream on.

    `shown`: the last hypothesis sent, empty if there was none. `trial`: a final decoded before the end was certain, and the
    number of samples it was decoded from.
    """

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.shown = ""
        self.trial: tuple[int, str] | None = None
        self._samples: Samples = np.zeros(RATE * 4, np.float32)
        self._length = 0

    def append(self, samples: Samples) -> None:
        needed = self._length + len(samples)
        if needed > len(self._samples):
            grown = np.zeros(max(needed, 2 * len(self._samples)), np.float32)
            grown[: self._length] = self.samples
            self._samples = grown
        self._samples[self._length : needed] = samples
        self._length = needed

    @property
    def samples(self) -> Samples:
        """All of it. A view that stays as it is when more is appended."""
        return self._samples[: self._length]

    def __len__(self) -> int:
        return self._length

    @property
    def duration_s(self) -> float:
        return self._length / RATE

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s

    @property
    def silent(self) -> bool:
        """No 50 ms of it are louder than any microphone's noise."""
        levels = loudness(self.samples)
        return not len(levels) or float(levels.max()) < SILENCE_DB

    def quiet_tail_s(self) -> float:
        """For how long it has been quiet at its end; 0 for an utterance that is quiet all along."""
        loud = np.flatnonzero(~_quiet(loudness(self.samples)))
        levels = self._length // _HOP
        return 0.0 if not len(loud) else (levels - 1 - int(loud[-1])) * HOP_S

    def quiet_since(self, length: int) -> bool:
        """Whether it has at least `length` samples, and only quiet after them."""
        return 0.0 <= (self._length - length) / RATE <= self.quiet_tail_s()

    def accept_trial(self) -> str | None:
        """The final that was made on trial, if nothing was said since."""
        return self.trial[1] if self.trial is not None and self.quiet_since(self.trial[0]) else None

    def cut(self, position: int) -> Utterance:
        """Keep the first `position` samples. Returns the rest as another utterance."""
        rest = Utterance(self.start_s + position / RATE)
        rest.append(self.samples[position:])
        self._length = position
        return rest


def loudness(samples: Samples) -> npt.NDArray[np.float64]:
    """dBFS over 50 ms around each step of 10 ms."""
    count = len(samples) // _HOP
    if count == 0:
        return np.zeros(0)
    power = np.square(samples[: count * _HOP], dtype=np.float64).reshape(count, _HOP).mean(axis=1)
    smooth = np.convolve(np.pad(power, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    levels: npt.NDArray[np.float64] = 10.0 * np.log10(smooth + 1e-12)
    return levels


def pause(samples: Samples, first_s: float, last_s: float, least_s: float) -> int | None:
    """The middle, as a sample index, of the longest pause in a stretch, if one lasts `least_s` at least."""
    first = round(first_s / HOP_S)
    quiet = _quiet(loudness(samples))[first : round(last_s / HOP_S)]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return None
    longest = int(np.argmax(ends - starts))
    if (ends[longest] - starts[longest]) * HOP_S < least_s:
        return None
    return int((first + (starts[longest] + ends[longest]) / 2) * _HOP)


def quietest(samples: Samples, first_s: float, last_s: float) -> int:
    """The sample index of the quietest 50 ms in a stretch: between two words, if anywhere."""
    first = round(first_s / HOP_S)
    levels = loudness(samples)[first : round(last_s / HOP_S)]
    return (first + int(np.argmin(levels))) * _HOP + _HOP // 2


def _quiet(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    if not len(levels):
        return np.zeros(0, np.bool_)
    quiet: npt.NDArray[np.bool_] = levels < np.percentile(levels, 90) - QUIET_DB
    return quiet

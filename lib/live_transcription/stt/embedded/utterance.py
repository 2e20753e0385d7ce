# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The audio of one utterance: where it is loud, whether the speaker has stopped, and where to cut it. Pure."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from live_transcription.stt.embedded.recogniser import RATE, Samples

#: Step of the loudness curve, in seconds and samples.
HOP_S = 0.01
_HOP = round(RATE * HOP_S)

#: Audio is quiet if it is so many dB below the loud parts of the utterance (the 90th percentile of its curve).
QUIET_DB = 27.0
#: Audio below this level, in dBFS, is silence.
SILENCE_DB = -62.0


class Utterance:
    """Audio that begins `start_s` seconds after the start of the stream.

    `shown` is the last hypothesis that was sent, empty if there was none. `agreed` is True once two consecutive hypotheses
    agree on the first word. `trial` is a final decoded before the end was certain, after the number of samples it was decoded
    from.

    A text counts only for the audio it was decoded from: after a cut, a text of longer audio has words of the next utterance.
    """

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.shown = ""
        self.agreed = False
        self.trial: tuple[int, str] | None = None
        self._shown_length = 0
        self._samples: Samples = np.zeros(RATE * 4, np.float32)
        self._length = 0

    def append(self, samples: Samples) -> None:
        """Add audio."""
        needed = self._length + len(samples)
        if needed > len(self._samples):
            grown = np.zeros(max(needed, 2 * len(self._samples)), np.float32)
            grown[: self._length] = self.samples
            self._samples = grown
        self._samples[self._length : needed] = samples
        self._length = needed

    def show(self, text: str, length: int) -> None:
        """Store a hypothesis that is sent, and the number of samples it was decoded from.

        The agreement is the one that commits a word in `captions.hypotheses`: another word follows it in both hypotheses.
        """
        before, after = (re.findall(r"\w+", each.lower())[:2] for each in (self.shown, text))
        self.agreed = self.agreed or (len(before) == len(after) == 2 and before[0] == after[0])
        self.shown, self._shown_length = text, length

    @property
    def samples(self) -> Samples:
        """All samples. The view does not change when audio is appended."""
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
        """Whether it is nowhere louder than the noise of a microphone."""
        levels = loudness(self.samples)
        return not len(levels) or float(levels.max()) < SILENCE_DB

    def quiet_tail_s(self) -> float:
        """Seconds of quiet at the end; 0 if the whole utterance is quiet."""
        loud = np.flatnonzero(~_quiet(loudness(self.samples)))
        levels = self._length // _HOP
        return 0.0 if not len(loud) else (levels - 1 - int(loud[-1])) * HOP_S

    def speech_s(self) -> float:
        """Seconds from the first sound to the end; 0 if there is none."""
        levels = loudness(self.samples)
        loud = np.flatnonzero(~_quiet(levels) & (levels > SILENCE_DB))
        return (len(levels) - int(loud[0])) * HOP_S if len(loud) else 0.0

    def quiet_since(self, length: int) -> bool:
        """Whether it has at least `length` samples, and all samples after them are quiet."""
        return 0.0 <= (self._length - length) / RATE <= self.quiet_tail_s()

    def accept_trial(self) -> str | None:
        """The text of the trial, or None if there is no trial or speech followed it."""
        return self.trial[1] if self.trial is not None and self.quiet_since(self.trial[0]) else None

    @property
    def last_text(self) -> str:
        """The last hypothesis, which replaces a final that failed; empty if there is none of this audio only."""
        return self.shown if self._shown_length <= self._length else ""

    def cut(self, position: int) -> Utterance:
        """Keep the first `position` samples, and return the rest as another utterance.

        The rest counts as agreed: it continues a sentence, so its first word is not urgent.
        """
        rest = Utterance(self.start_s + position / RATE)
        rest.append(self.samples[position:])
        rest.agreed = True
        self._length = position
        return rest


def loudness(samples: Samples) -> npt.NDArray[np.float64]:
    """The level in dBFS of each 10 ms, averaged over 50 ms."""
    count = len(samples) // _HOP
    if count == 0:
        return np.zeros(0)
    power = np.square(samples[: count * _HOP], dtype=np.float64).reshape(count, _HOP).mean(axis=1)
    smooth = np.convolve(np.pad(power, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    levels: npt.NDArray[np.float64] = 10.0 * np.log10(smooth + 1e-12)
    return levels


def voiced_s(samples: Samples) -> float:
    """Seconds that are neither quiet nor silence."""
    levels = loudness(samples)
    return float(np.count_nonzero(~_quiet(levels) & (levels > SILENCE_DB)) * HOP_S)


def pause(samples: Samples, first_s: float, last_s: float, least_s: float) -> int | None:
    """The middle of the longest pause between `first_s` and `last_s`, as a sample index.

    Returns None if no pause lasts at least `least_s`.
    """
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
    """The middle of the quietest 50 ms between `first_s` and `last_s`, as a sample index. It is probably between words."""
    first = round(first_s / HOP_S)
    levels = loudness(samples)[first : round(last_s / HOP_S)]
    return (first + int(np.argmin(levels))) * _HOP + _HOP // 2


def _quiet(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    if not len(levels):
        return np.zeros(0, np.bool_)
    quiet: npt.NDArray[np.bool_] = levels < np.percentile(levels, 90) - QUIET_DB
    return quiet

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When to ask the network. Asked about every frame it would be the dearest part of a talking speaker.

Two answers are wanted: that speech has begun, and that it has ended. Each is worked out as late as it may be.

- **In silence** a frame that is hardly above the noise so far holds no speech. One that is goes through the network, and so do
  those that follow, until the network hears no speech and the loudness has gone. What the network takes for noise raises the
  level of the noise. Sound that keeps below it is glanced at now and then, so that speech cannot hide in it.
- **In speech** nothing is looked at until silence could have lasted long enough to count. Then comes a glance at the newest of
  the loud frames held: a window or two, by a network that has heard nothing before, which finds speech where there is plenty
  and hardly ever where there is none. Only if it finds none do all the frames held go through the network, in order. Its
  state is that of the last time, a few seconds old at most, which serves it far better than none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from live_transcription.audio.silero import EDGE, HOP, Session, Stretch
from live_transcription.types import SAMPLE_RATE, Frame

#: Probability at which speech begins, and the lower one down to which it goes on.
START, STOP = 0.5, 0.35
#: Mean square below which no frame is looked at (-80 dBFS).
QUIET = 1e-8
#: How far above the noise, as a ratio of energies, a frame has to be to be looked at (3 dB).
ABOVE_NOISE = 2.0
#: How much of the way down to a quieter frame the level of the noise goes at once.
FALL = 0.25
#: In silence so many frames are held for the network to warm up with, or to go back to.
HELD_IN_SILENCE = 4
#: One frame in so many is glanced at in steady sound.
GLANCE_EVERY = 5
#: In speech, a frame so far below what speech was like is silence without a look (30 dB).
FAR_BELOW = 1e-3
#: How fast the level of speech follows the frames in which it is found.
FOLLOW = 0.2
#: A frame is loud if it has at least this share of the greatest energy among those held.
LOUD = 0.5
#: The network is unsure of faint speech until it has heard a second of it: below -34 dBFS it hears it at -23 dBFS.
FAINT_RMS, USUAL_RMS = 0.02, 0.07
#: Frames held at most, in samples, however long the silence that is asked about.
_LIMIT = round(0.8 * SAMPLE_RATE)


class _Held(NamedTuple):
    frame: Frame
    #: Mean square.
    energy: float


class SileroDetector:
    """One speaker's activity. Each frame is pushed; which question is asked decides what goes through the network.

    Holds up to 0.8 s of frames in speech and 0.3 s in silence (those the gate keeps as pre-roll), and the network's state.
    """

    __slots__ = (
        "_attentive",
        "_held",
        "_held_samples",
        "_level",
        "_noise",
        "_session",
        "_silence",
        "_speech",
        "_stretch",
        "_unseen",
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reset()

    def reset(self) -> None:
        """Forget the audio so far: what comes next does not follow on it."""
        # Frames that have not gone through the network; it has heard what comes right before them, if there is a stretch.
        self._held: list[_Held] = []
        self._held_samples = 0
        self._stretch: Stretch | None = None
        # Samples of speech, and of silence, at the end of the audio that is not held any more.
        self._speech = 0
        self._silence = 0
        # Mean squares of what is no speech, and of speech; 0 where it is not known.
        self._noise = QUIET
        self._level = 0.0
        # In silence: the next frame goes through the network, however loud it is.
        self._attentive = False
        self._unseen = 0

    @property
    def held_s(self) -> float:
        """Seconds of frames that are held."""
        return self._held_samples / SAMPLE_RATE

    def push(self, frame: Frame) -> None:
        """Take the next frame (float32, 24 kHz mono, any length)."""
        count = len(frame)
        if not count:
            return
        self._held.append(_Held(frame, float(np.dot(frame, frame)) / count))
        self._held_samples += count
        if self._held_samples > _LIMIT:
            self._look_back()

    def speech_for(self, seconds: float) -> bool:
        """In silence, asked after each frame: has there been speech without a break for so long up to now?"""
        if self._held:
            self._look_at_newest(self._held[-1].energy)
        return self._speech >= seconds * SAMPLE_RATE

    def silence_for(self, seconds: float) -> bool:
        """In speech: has there been no speech for so long up to now?"""
        limit = seconds * SAMPLE_RATE
        if self._silence + self._held_samples < limit:
            return False
        if self._held:
            self._look_back()
        return self._silence + self._held_samples >= limit

    def _look_at_newest(self, energy: float) -> None:
        loud = energy > max(QUIET, self._noise * ABOVE_NOISE)
        if self._attentive:
            self._hear(0)
        elif loud:
            self._hear(max(0, len(self._held) - 2) if self._stretch is None or self._stretch.broken_off else 0)
        elif energy > QUIET and self._is_speech_in_steady_sound():
            self._hear(0)
        else:
            self._pass(energy)
            return
        if not self._speech:
            self._attentive = loud
            self._noise = max(self._noise, energy)

    def _is_speech_in_steady_sound(self) -> bool:
        self._unseen += 1
        if self._unseen < GLANCE_EVERY:
            return False
        self._unseen = 0
        return self._glance(len(self._held) - 1, windows=1)

    def _pass(self, energy: float) -> None:
        """The newest frame holds no speech."""
        if energy < self._noise:
            self._noise = max(QUIET, self._noise + FALL * (energy - self._noise))
        self._level = 0.0
        self._speech = 0
        if self._stretch is not None:
            self._stretch.break_off()
        if len(self._held) > HELD_IN_SILENCE:
            self._drop(len(self._held) - HELD_IN_SILENCE)

    def _look_back(self) -> None:
        energies = [held.energy for held in self._held]
        greatest = max(energies)
        if greatest > max(QUIET, FAR_BELOW * self._level):
            newest = max(index for index, energy in enumerate(energies) if energy >= LOUD * greatest)
            if self._glance(newest):
                self._level += (FOLLOW if self._level else 1.0) * (energies[newest] - self._level)
                self._stretch = self._stretch or Stretch(self._session)
                self._stretch.skip_to(self._held[newest].frame)
                self._drop(newest + 1)
                self._speech = self._silence = 0
                self._attentive = True
                return
        self._hear(0)

    def _glance(self, index: int, windows: int = 2) -> bool:
        """Is there speech at the end of a frame that is held? The windows there are looked at one by one, until there is."""
        frames: list[Frame] = []
        missing = windows * HOP + EDGE
        first = index + 1
        while missing > 0 and first > 0:
            first -= 1
            frame = self._held[first].frame[-missing:]
            frames.insert(0, frame)
            missing -= len(frame)
        samples = frames[0] if len(frames) == 1 else np.concatenate(frames)
        stretch = Stretch(self._session, _gain(self._held[index].energy))
        first_end = len(samples) - (windows - 1) * HOP
        ends = range(first_end, len(samples) + 1, HOP)
        return any(stretch.hear([samples[0 if end == first_end else end - HOP : end]])[0] >= STOP for end in ends)

    def _hear(self, first: int) -> None:
        """All frames held are done with; those from this index on go through the network, but for the silence at the end."""
        quiet = max(QUIET, self._level * FAR_BELOW)
        last = len(self._held)
        while last > first and self._held[last - 1].energy <= quiet:
            last -= 1
        heard, silent = self._held[first:last], self._held[last:]
        if heard:
            gain = _gain(max(held.energy for held in heard))
            if self._stretch is None or (self._stretch.broken_off and gain > 1.0):
                # What is made louder would set off a network that has speech in mind.
                self._stretch = Stretch(self._session, gain)
            self._stretch.gain = min(self._stretch.gain, gain)
            found = self._stretch.hear([held.frame for held in heard])
            for held, probability in zip(heard, found, strict=True):
                self._speech = self._speech + len(held.frame) if probability >= START else 0
                self._silence = 0 if probability >= STOP else self._silence + len(held.frame)
        if silent:
            self._speech = 0
            self._silence += sum(len(held.frame) for held in silent)
            if self._stretch is not None:
                self._stretch.break_off()
        self._drop(len(self._held))
        self._attentive = True

    def _drop(self, count: int) -> None:
        self._held_samples -= sum(len(held.frame) for held in self._held[:count])
        del self._held[:count]


def _gain(energy: float) -> float:
    rms = energy**0.5
    return USUAL_RMS / rms if 0.0 < rms < FAINT_RMS else 1.0

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Voice activity detection that runs the network only when its answer matters.

On every frame the network would be the most expensive part of a speaker. Only two answers matter: that speech has begun, and
that it has ended. Each is computed as late as possible, mostly by a glance: one window through a network without history, which
reliably finds clear speech and rarely reports speech where there is none.

- **In silence** a frame that is no louder than the noise level holds no speech. A clearly louder frame gets a glance. So does
  an occasional frame that is only slightly louder, so that speech cannot hide there. If the glance suspects speech, the
  buffered frames and all following ones go through the network, until it finds no speech and the sound is quiet again. Frames
  without speech raise the noise level.
- **In speech** nothing is examined until silence could have lasted long enough to count. Then the newest loud buffered frame
  gets a glance. If it finds speech, the next similar frame counts as speech without a glance, but only once. So the network
  confirms speech about every second, and a loud sound after the end of speech delays the end by no more than that. If the
  glance finds none, all buffered frames go through the network, in order. Its state is a few seconds old at most, which is
  much better than none.
"""

from __future__ import annotations

import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.silero import GLANCE, Session, Stretch, glance

#: Probability at which speech begins, and the lower one down to which it goes on.
START, STOP = 0.5, 0.35
#: Probability of a glance in silence at which the network examines more, since the onset of speech is not always clear.
PERHAPS = 0.15
#: Mean square below which no frame is examined (-80 dBFS).
QUIET = 1e-8
#: Ratio of energies to the noise at which a frame is examined (3 dB), or occasionally examined (0.8 dB). Quieter sound is
#: steadier than speech, or too faint for its words to be understood.
ABOVE_NOISE, NOT_STEADY = 2.0, 1.2
#: How fast the noise level follows the energy of a frame: down to a quieter one, up to a louder one.
FALL, RISE = 0.25, 0.5
#: Frames buffered in silence besides the newest, to warm up the network.
HELD_IN_SILENCE = 2
#: Sound between the two is glanced at when so many frames have gone by without a glance.
GLANCE_EVERY = 5
#: In speech, a frame so far below the level of speech (30 dB) counts as silence without examination.
FAR_BELOW = 1e-3
#: How fast the level of speech follows the frames in which it is found.
FOLLOW = 0.2
#: A frame is loud if it has at least this share of the greatest energy among those held.
LOUD = 0.5
#: A frame is similar to earlier speech if it has this share of its energy, and this correlation from one sample to the next,
#: which means that most of it is below some 2 kHz. This is true of voices, and not of hiss or clatter.
LIKE_SPEECH, LIKE_VOICE = 0.25, 0.85
#: The network is unsure of faint speech in its first second, so speech below -34 dBFS is amplified to -23 dBFS.
FAINT_RMS, USUAL_RMS = 0.02, 0.07
#: Limit of the buffered frames in samples, whatever the length of silence in question.
_LIMIT = round(0.8 * SAMPLE_RATE)


class SileroDetector:
    """One speaker's activity. Each frame is pushed; which question is asked decides what goes through the network.

    Holds up to 0.8 s of frames in speech and three frames in silence (the gate keeps them, too), and the network's state.
    """

    __slots__ = (
        "_attentive",
        "_confirmed",
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
        """Forget the audio so far: the next frame does not continue it."""
        # Frames that have not gone through the network; if there is a stretch, it has processed the audio before them.
        self._held: list[Frame] = []
        self._held_samples = 0
        self._stretch: Stretch | None = None
        # Samples of speech, and of silence, at the end of the audio that is not held any more.
        self._speech = 0
        self._silence = 0
        # Mean squares of noise and of speech; 0 if unknown.
        self._noise = QUIET
        self._level = 0.0
        # In silence: the next frame goes through the network, however loud it is. And frames since the last glance.
        self._attentive = False
        self._unseen = 0
        # In speech: the last look was a glance that found it.
        self._confirmed = False

    @property
    def held_s(self) -> float:
        """Seconds of frames that are held."""
        return self._held_samples / SAMPLE_RATE

    def push(self, frame: Frame) -> None:
        """Take the next frame (float32, 24 kHz mono, contiguous, any length)."""
        if not len(frame):
            return
        self._held.append(frame)
        self._held_samples += len(frame)
        if self._held_samples > _LIMIT:
            self._look_back()

    def speech_for(self, seconds: float) -> bool:
        """In silence, called after each frame: has there been uninterrupted speech for the last `seconds`?"""
        if self._held:
            self._look_at_newest()
        return self._speech >= seconds * SAMPLE_RATE

    def silence_for(self, seconds: float) -> bool:
        """In speech: has there been no speech for the last `seconds`?"""
        limit = seconds * SAMPLE_RATE
        if self._silence + self._held_samples < limit:
            return False
        if self._held:
            self._look_back()
        return self._silence + self._held_samples >= limit

    def _look_at_newest(self) -> None:
        energy = _mean_square(self._held[-1])
        loud = energy > max(QUIET, self._noise * ABOVE_NOISE)
        if not self._attentive and not self._may_be_speech(energy, loud=loud):
            self._pass(energy)
            return
        self._hear()
        if not self._attentive:
            self._attentive = loud
            self._noise = max(self._noise, energy)

    def _may_be_speech(self, energy: float, *, loud: bool) -> bool:
        self._unseen += 1
        if not loud and (self._unseen < GLANCE_EVERY or energy <= max(QUIET, self._noise * NOT_STEADY)):
            return False
        self._unseen = 0
        if self._glance(len(self._held) - 1, energy, in_middle=False) >= PERHAPS:
            return True
        if energy > self._noise:
            self._noise += RISE * (energy - self._noise)
        return False

    def _pass(self, energy: float) -> None:
        """The newest frame holds no speech."""
        if energy < self._noise:
            self._noise = max(QUIET, self._noise + FALL * (energy - self._noise))
        self._level = 0.0
        self._confirmed = False
        self._speech = 0
        if self._stretch is not None:
            self._stretch.break_off()
        if len(self._held) > HELD_IN_SILENCE:
            self._drop(len(self._held) - HELD_IN_SILENCE)

    def _look_back(self) -> None:
        newest = self._newest_speech()
        if newest is None:
            self._hear()
            return
        self._stretch = self._stretch or Stretch(self._session)
        self._stretch.skip_to(self._held[newest])
        self._drop(newest + 1)
        self._speech = self._silence = 0
        self._attentive = True

    def _newest_speech(self) -> int | None:
        """The newest of the frames held that is found to hold speech without hearing them all."""
        if self._confirmed:
            self._confirmed = False
            for index in reversed(range(len(self._held))):
                energy = _mean_square(self._held[index])
                if energy >= LIKE_SPEECH * self._level and _is_low(self._held[index], energy):
                    return index
        energies = [_mean_square(frame) for frame in self._held]
        greatest = max(energies)
        if greatest <= max(QUIET, FAR_BELOW * self._level):
            return None
        newest = max(index for index, energy in enumerate(energies) if energy >= LOUD * greatest)
        if self._glance(newest, energies[newest], in_middle=True) < STOP:
            return None
        self._level += (FOLLOW if self._level else 1.0) * (energies[newest] - self._level)
        self._confirmed = True
        return newest

    def _glance(self, index: int, energy: float, *, in_middle: bool) -> float:
        """How likely there is speech in the middle, or at the end, of a frame that is held."""
        samples = self._held[index]
        after = max(0, len(samples) - GLANCE) // 2 if in_middle else 0
        while len(samples) < GLANCE:
            if index == 0:
                return 0.0
            index -= 1
            samples = np.concatenate([self._held[index], samples])
        end = len(samples) - after
        return glance(self._session, samples[end - GLANCE : end], _gain(energy))

    def _hear(self) -> None:
        """Pass all buffered frames through the network, except for the silence at the end."""
        energies = [_mean_square(frame) for frame in self._held]
        quiet = max(QUIET, self._level * FAR_BELOW)
        last = len(energies)
        while last and energies[last - 1] <= quiet:
            last -= 1
        heard, silent = self._held[:last], self._held[last:]
        if heard:
            gain = _gain(max(energies))
            if self._stretch is None or (self._stretch.broken_off and gain > 1.0):
                # A network in the middle of speech would be triggered by amplified noise.
                self._stretch = Stretch(self._session, gain)
            self._stretch.gain = min(self._stretch.gain, gain)
            for frame, probability in zip(heard, self._stretch.hear(heard), strict=True):
                self._speech = self._speech + len(frame) if probability >= START else 0
                self._silence = 0 if probability >= STOP else self._silence + len(frame)
        if silent:
            self._speech = 0
            self._silence += sum(map(len, silent))
            if self._stretch is not None:
                self._stretch.break_off()
        self._drop(len(self._held))
        self._attentive = not self._silence

    def _drop(self, count: int) -> None:
        self._held_samples -= sum(map(len, self._held[:count]))
        del self._held[:count]


class SileroSample:
    """Decides whether an isolated frame may hold speech: runs the network only on frames louder than the noise before them."""

    __slots__ = ("_noise", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._noise = QUIET

    def may_be_speech(self, frame: Frame) -> bool:
        """`frame`: at least as long as a glance (38 ms)."""
        energy = _mean_square(frame)
        if energy > max(QUIET, self._noise * NOT_STEADY):
            gain = _gain(energy)
            for window in (frame[:GLANCE], frame[-GLANCE:]):
                if glance(self._session, window, gain) >= PERHAPS:
                    return True
        self._noise = max(QUIET, self._noise + (RISE if energy > self._noise else FALL) * (energy - self._noise))
        return False


def _mean_square(frame: Frame) -> float:
    return float(frame.dot(frame)) / len(frame)


def _is_low(frame: Frame, energy: float) -> bool:
    return float(frame[1:].dot(frame[:-1])) >= LIKE_VOICE * energy * len(frame)


def _gain(energy: float) -> float:
    rms = energy**0.5
    return USUAL_RMS / rms if 0.0 < rms < FAINT_RMS else 1.0

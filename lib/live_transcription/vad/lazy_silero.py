# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Voice activity detection that runs the Silero network only when its answer matters.

Run on every frame, the network would be the most expensive part of a speaker. Only two answers matter: that speech has begun,
and that it has ended. Each is computed as late as possible, mostly from a *spot check*: one window through the network without
history, which reliably finds clear speech and rarely finds speech where there is none.

The gate asks `speech_for` in silence and `silence_for` in speech. The states:

- **idle** (silence): Each frame is compared with the noise level. A clearly louder one gets a spot check. So does an occasional
  frame that is slightly louder, since speech could hide there. A suspicion of speech leads to *tracking*.
- **tracking** (silence): The buffered frames and each new one go through the network. Back to *idle* once the network finds no
  speech and the frame is quiet; to *speech* once the gate has seen enough speech.
- **speech**: Frames are buffered until silence could have lasted as long as the gate asks for. Then the newest loud one gets a
  spot check. If that finds speech, it is *confirmed*. Otherwise all buffered frames go through the network, in order.
- **confirmed** (speech): As above, but next time a frame similar to the confirmed speech counts as speech without a spot check,
  once. Then back to *speech*.

So the network confirms speech about every second, and a loud sound after the end of speech delays the end by no more than that.
In speech the network's state is a few seconds old at most, which is much better than none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from live_transcription.types import SAMPLE_RATE, Frame
from live_transcription.vad.silero import WINDOW_SAMPLES, Session, SileroStream, classify_window


@dataclass(frozen=True, slots=True)
class Tuning:
    """The constants of the detector. Energies are mean squares of samples."""

    #: Probability at which speech begins, and the lower one down to which it continues.
    start: float = 0.5
    stop: float = 0.35
    #: Probability at which a spot check in silence suspects speech, since its onset is not always clear.
    suspect: float = 0.15
    #: Energy below which no frame is examined (-80 dBFS).
    quiet: float = 1e-8
    #: Ratio to the noise level from which a frame is clearly (3 dB) or slightly (0.8 dB) louder. Quieter sound is steadier than
    #: speech, or too faint to be understood.
    clearly_louder: float = 2.0
    slightly_louder: float = 1.2
    #: A slightly louder frame is examined after so many frames without a spot check.
    spot_check_every: int = 5
    #: How fast the noise level follows a quieter and a louder frame, as a share of the difference.
    noise_fall: float = 0.25
    noise_rise: float = 0.5
    #: Frames buffered in silence besides the newest, to warm up the network.
    warm_up_frames: int = 2
    #: Ratio to the level of speech below which a frame is silence without examination (30 dB).
    far_below_speech: float = 1e-3
    #: How fast the level of speech follows the frames in which speech is found.
    level_follows: float = 0.2
    #: A buffered frame is loud if it has this share of the highest energy among the buffered frames.
    loud_share: float = 0.5
    #: A frame is similar to earlier speech if it has this share of its energy, and this correlation between successive samples.
    #: The latter means that most of its energy is below 2 kHz, which is true of voices, but not of hiss or clatter.
    similar_share: float = 0.25
    voice_correlation: float = 0.85
    #: The network is unsure of faint speech in its first second, so speech below -34 dBFS is amplified to -23 dBFS.
    faint_rms: float = 0.02
    usual_rms: float = 0.07
    #: Maximum number of buffered samples, however long a silence is asked for.
    max_buffered: int = round(0.8 * SAMPLE_RATE)


_T = Tuning()


class SileroDetector:
    """Detects one speaker's voice activity (an `ActivityDetector`, see `vad.gate`).

    Buffers up to 0.8 s of frames in speech and three frames in silence, which the gate keeps as well, and the network's state.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reset()

    def reset(self) -> None:
        """Forget the audio so far, since the next frame does not continue it."""
        # Frames that have not gone through the network. The stream, if any, has processed the audio before them.
        self._frames: list[Frame] = []
        self._buffered = 0
        self._stream: SileroStream | None = None
        # Samples of speech, and of silence, at the end of the audio before the buffered frames.
        self._speech = 0
        self._silence = 0
        # The levels of noise and of speech; 0 if unknown.
        self._noise = _T.quiet
        self._level = 0.0
        # In silence: whether the next frame goes through the network, and the number of frames since the last spot check.
        self._tracking = False
        self._unchecked = 0
        # In speech: whether the last check was a spot check that found speech.
        self._confirmed = False

    def push(self, frame: Frame) -> None:
        """Add the next frame (float32, 24 kHz mono, contiguous, any length)."""
        if not len(frame):
            return
        self._frames.append(frame)
        self._buffered += len(frame)
        if self._buffered > _T.max_buffered:
            self._examine_speech()

    def speech_for(self, seconds: float) -> bool:
        """Return whether there has been speech without interruption for the last `seconds`. Call it in silence."""
        if self._frames:
            self._examine_newest()
        return self._speech >= seconds * SAMPLE_RATE

    def silence_for(self, seconds: float) -> bool:
        """Return whether there has been no speech for the last `seconds`. Call it in speech."""
        limit = seconds * SAMPLE_RATE
        # Even if all buffered frames were silent, the silence would be too short: no need to examine them.
        if self._silence + self._buffered < limit:
            return False
        if self._frames:
            self._examine_speech()
        return self._silence + self._buffered >= limit

    def _examine_newest(self) -> None:
        """In silence: examine the newest frame."""
        energy = _energy(self._frames[-1])
        louder = energy > max(_T.quiet, self._noise * _T.clearly_louder)
        if not self._tracking and not self._suspects_speech(energy, louder=louder):
            self._reject_newest(energy)
            return
        self._process_buffered()
        if not self._tracking:
            # No speech after all. Sound as loud as this keeps the detector tracking until it is quiet again, and counts as
            # noise, so that it does not raise the next suspicion.
            self._tracking = louder
            self._noise = max(self._noise, energy)

    def _suspects_speech(self, energy: float, *, louder: bool) -> bool:
        """Spot-check the newest frame if it is loud enough. A louder frame without speech raises the noise level."""
        self._unchecked += 1
        if not louder and (self._unchecked < _T.spot_check_every or energy <= max(_T.quiet, self._noise * _T.slightly_louder)):
            return False
        self._unchecked = 0
        if self._spot_check(len(self._frames) - 1, energy, in_middle=False) >= _T.suspect:
            return True
        if energy > self._noise:
            self._noise += _T.noise_rise * (energy - self._noise)
        return False

    def _reject_newest(self, energy: float) -> None:
        """Note that the newest frame has no speech, and drop all frames but those that may warm up the network."""
        if energy < self._noise:
            self._noise = max(_T.quiet, self._noise + _T.noise_fall * (energy - self._noise))
        self._level = 0.0
        self._confirmed = False
        self._speech = 0
        if self._stream is not None:
            self._stream.interrupt()
        if len(self._frames) > _T.warm_up_frames:
            self._drop(len(self._frames) - _T.warm_up_frames)

    def _examine_speech(self) -> None:
        """In speech: find the newest speech among the buffered frames, or let the network decide."""
        newest = self._newest_speech()
        if newest is None:
            self._process_buffered()
            return
        # The frames up to that one are speech. Those after it are still to be examined.
        self._stream = self._stream or SileroStream(self._session)
        self._stream.skip_to(self._frames[newest])
        self._drop(newest + 1)
        self._speech = self._silence = 0
        self._tracking = True

    def _newest_speech(self) -> int | None:
        """Return the index of the newest buffered frame that has speech, found without processing all of them."""
        # After a spot check that found speech, a similar frame counts without another one, but only once.
        if self._confirmed:
            self._confirmed = False
            for index in reversed(range(len(self._frames))):
                energy = _energy(self._frames[index])
                if energy >= _T.similar_share * self._level and _is_like_voice(self._frames[index], energy):
                    return index
        # Spot-check the newest of the loudest frames, where speech is clearest.
        energies = [_energy(frame) for frame in self._frames]
        highest = max(energies)
        if highest <= max(_T.quiet, _T.far_below_speech * self._level):
            return None
        newest = max(index for index, energy in enumerate(energies) if energy >= _T.loud_share * highest)
        if self._spot_check(newest, energies[newest], in_middle=True) < _T.stop:
            return None
        self._level += (_T.level_follows if self._level else 1.0) * (energies[newest] - self._level)
        self._confirmed = True
        return newest

    def _spot_check(self, index: int, energy: float, *, in_middle: bool) -> float:
        """Return the probability of speech in one window, in the middle or at the end of a buffered frame."""
        samples = self._frames[index]
        after = max(0, len(samples) - WINDOW_SAMPLES) // 2 if in_middle else 0
        while len(samples) < WINDOW_SAMPLES:
            if index == 0:
                return 0.0
            index -= 1
            samples = np.concatenate([self._frames[index], samples])
        end = len(samples) - after
        return classify_window(self._session, samples[end - WINDOW_SAMPLES : end], _gain(energy))

    def _process_buffered(self) -> None:
        """Run the network on all buffered frames, except for the quiet ones at the end, and drop them."""
        energies = [_energy(frame) for frame in self._frames]
        quiet = max(_T.quiet, self._level * _T.far_below_speech)
        last = len(energies)
        while last and energies[last - 1] <= quiet:
            last -= 1
        audible, silent = self._frames[:last], self._frames[last:]
        if audible:
            gain = _gain(max(energies))
            if self._stream is None or (self._stream.interrupted and gain > 1.0):
                # A network whose state is that of speech would take amplified noise for speech.
                self._stream = SileroStream(self._session, gain)
            self._stream.gain = min(self._stream.gain, gain)
            for frame, probability in zip(audible, self._stream.process(audible), strict=True):
                self._speech = self._speech + len(frame) if probability >= _T.start else 0
                self._silence = 0 if probability >= _T.stop else self._silence + len(frame)
        if silent:
            self._speech = 0
            self._silence += sum(map(len, silent))
            if self._stream is not None:
                self._stream.interrupt()
        self._drop(len(self._frames))
        self._tracking = not self._silence

    def _drop(self, count: int) -> None:
        self._buffered -= sum(map(len, self._frames[:count]))
        del self._frames[:count]


class SileroSample:
    """Decides whether an isolated frame may have speech. The network examines only frames louder than the noise level."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._noise = _T.quiet

    def may_be_speech(self, frame: Frame) -> bool:
        """Return whether a frame of at least 38 ms (`WINDOW_SAMPLES`) may have speech."""
        energy = _energy(frame)
        if energy > max(_T.quiet, self._noise * _T.slightly_louder):
            gain = _gain(energy)
            windows = (frame[:WINDOW_SAMPLES], frame[-WINDOW_SAMPLES:])
            if any(classify_window(self._session, window, gain) >= _T.suspect for window in windows):
                return True
        share = _T.noise_rise if energy > self._noise else _T.noise_fall
        self._noise = max(_T.quiet, self._noise + share * (energy - self._noise))
        return False


def _energy(frame: Frame) -> float:
    return float(frame.dot(frame)) / len(frame)


def _is_like_voice(frame: Frame, energy: float) -> bool:
    return float(frame[1:].dot(frame[:-1])) >= _T.voice_correlation * energy * len(frame)


def _gain(energy: float) -> float:
    rms = energy**0.5
    return _T.usual_rms / rms if 0.0 < rms < _T.faint_rms else 1.0

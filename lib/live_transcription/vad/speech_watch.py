# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Select the audio of a silent publisher that is worth decoding. Pure: the audio is the clock.

Packets are buffered for `BUFFER_S` without being decoded. A suspicion of speech releases them and ends the watch. From then on
everything is decoded, and voice activity detection decides. Two things raise a suspicion:

- **Audio levels** (RFC 6464): consecutive packets well above the noise level. This costs nothing and is immediate. Levels that
  were wrong more than `PATIENCE` times in a row are ignored for a while, which doubles up to half a minute.
- **Samples**: one frame of 80 ms in ten is decoded, whatever the levels are. Speech is noticed within one or two samples (0.8 s
  each). None of it is lost, since the packets before it are still buffered.

Digital silence (level 127) is not buffered. One packet in two seconds is decoded nevertheless. If it contains sound, the levels
are wrong, and `on_wrong_levels` is called.

The decoder is reset for each sample and after each watch. The packets before the ones that matter warm it up.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from live_transcription.audio.opus import TICKS_PER_SAMPLE, Decoder, decoder, packet_samples
from live_transcription.audio.pipeline import PipelineStatistics
from live_transcription.errors import OpusError
from live_transcription.types import DIGITAL_SILENCE, SAMPLE_RATE, AudioGap, AudioPacket, Frame

Item: TypeAlias = AudioPacket | AudioGap

#: Limits of the buffer: seconds of audio, number of packets and gaps, octets.
BUFFER_S = 2.5
MAX_ITEMS = 256
MAX_OCTETS = 1 << 16
#: Seconds of audio that are released if levels raise the suspicion: the gate's pre-roll, plus some to warm up the decoder.
LEVEL_RELEASE_S = 0.9
#: Number of consecutive packets that raise a suspicion, and how many dB above the noise level they have to be. The noise level
#: is at least -80 dBov, so nothing below -74 dBov counts as speech.
LOUD_PACKETS = 2
ABOVE_NOISE_DB = 6.0
QUIETEST_NOISE = 80.0
#: How fast the noise level follows a quieter and a louder packet, as a share of the difference.
_FALL, _RISE = 0.1, 0.02
#: Number of consecutive wrong suspicions by levels without consequence. After them, levels are ignored for so many seconds, at
#: first and at most.
PATIENCE = 3
IGNORE_LEVELS_S = (4.0, 30.0)
#: Seconds between two samples, and what is decoded for a sample: audio to warm up the decoder, and the frame to examine.
SAMPLE_EVERY_S = 0.8
WARM_UP_S, SAMPLE_S = 0.06, 0.08
#: Seconds between two packets of digital silence that are decoded, and the peak from which they count as sound.
CHECK_EVERY_S = 2.0
SOUND_PEAK = 0.01
#: Payloads of at most so many octets contain no sound (RFC 6716, section 2.1.9; an empty frame).
_EMPTY_OCTETS = 3
_USUAL_SAMPLES = SAMPLE_RATE * 20 // 1000


class Sample(Protocol):
    """Examines samples of one publisher."""

    def may_be_speech(self, frame: Frame) -> bool:
        """Return whether a frame of `SAMPLE_S` (float32, 24 kHz mono) may have speech."""


class SpeechWatch:
    """Watches one silent publisher. `on_wrong_levels` is called when digital silence turns out to be sound.

    Audio that is never decoded counts as omitted in `statistics`.
    """

    def __init__(self, statistics: PipelineStatistics, sample: Sample, on_wrong_levels: Callable[[], None]) -> None:
        #: Seconds of audio that were released last.
        self.released_s = 0.0
        #: Samples and octets in the buffer.
        self.buffered_samples = 0
        self.buffered_octets = 0
        self._statistics = statistics
        self._sample = sample
        self._on_wrong_levels = on_wrong_levels
        # Items with their number of samples.
        self._items: deque[tuple[Item, int]] = deque()
        self._packet_samples = _USUAL_SAMPLES
        self._noise = QUIETEST_NOISE
        self._loud = 0
        self._by_level: float | None = None
        self._wrong = 0
        # In samples of audio: until levels count again, until the next sample, and until the next check of digital silence.
        self._levels_ignored = 0
        self._until_sample = _samples(SAMPLE_EVERY_S / 4)
        self._until_check = 0

    def begin(self, *, spoke: bool) -> None:
        """Watch from the next item on. `spoke`: the last suspicion was right."""
        self._loud = 0
        self._until_sample = _samples(SAMPLE_EVERY_S)
        if spoke:
            self._wrong = self._levels_ignored = 0
        elif self._by_level is not None:
            self._wrong += 1
            # The level that raised the wrong suspicion counts as noise for now.
            self._noise = min(self._noise, self._by_level)
            if self._wrong > PATIENCE:
                self._levels_ignored = _samples(
                    min(IGNORE_LEVELS_S[1], IGNORE_LEVELS_S[0] * 2 ** min(self._wrong - PATIENCE - 1, 8))
                )
        self._by_level = None

    def push(self, item: Item) -> Sequence[Item]:
        """Add the next item. Returns the items to decode if the watch is over, else nothing."""
        if not isinstance(item, AudioPacket):
            samples = min(item.duration // TICKS_PER_SAMPLE, _samples(BUFFER_S))
            if not item.lost:
                self._until_check -= samples
            self._buffer(item, samples)
            return ()
        statistics = self._statistics
        statistics.packets += 1
        if item.audio_level == DIGITAL_SILENCE:  # by far the most frequent case, so it makes few calls
            statistics.silent += 1
            statistics.omitted_samples += self._packet_samples
            self._until_check -= self._packet_samples
            if self._items:
                self._clear()
                self._loud = 0
            if self._until_check <= 0:
                self._until_check = _samples(CHECK_EVERY_S)
                self._check(item)
            return ()
        samples = packet_samples(item.payload) or self._packet_samples
        self._packet_samples = samples
        self._buffer(item, samples)
        self._until_sample -= samples
        if self._levels_ignored > 0:
            self._levels_ignored -= samples
        if item.audio_level is not None and self._is_loud(float(item.audio_level)):
            self._by_level = float(item.audio_level)
            return self._release(_samples(LEVEL_RELEASE_S))
        if self._until_sample <= 0:
            self._until_sample = _samples(SAMPLE_EVERY_S)
            if self._may_be_speech():
                return self._release(self.buffered_samples)
        return ()

    def _is_loud(self, level: float) -> bool:
        above = self._noise - level
        self._noise += (_FALL if above < 0 else _RISE) * (level - self._noise)
        self._noise = min(self._noise, QUIETEST_NOISE)
        self._loud = self._loud + 1 if above >= ABOVE_NOISE_DB else 0
        return self._loud >= LOUD_PACKETS and self._levels_ignored <= 0

    def _may_be_speech(self) -> bool:
        payloads: list[tuple[bytes, int]] = []
        wanted = _samples(WARM_UP_S + SAMPLE_S)
        for item, samples in reversed(self._items):
            if wanted <= 0 or not isinstance(item, AudioPacket):
                break
            payloads.append((item.payload, samples))
            wanted -= samples
        frame = _decode(payloads[::-1])
        examined = _samples(SAMPLE_S)
        return len(frame) >= examined and self._sample.may_be_speech(frame[-examined:])

    def _check(self, packet: AudioPacket) -> None:
        if len(packet.payload) <= _EMPTY_OCTETS:
            return
        frame = _decode([(packet.payload, self._packet_samples)])
        if len(frame) and float(np.abs(frame).max()) >= SOUND_PEAK:
            self._on_wrong_levels()

    def _buffer(self, item: Item, samples: int) -> None:
        self._items.append((item, samples))
        self.buffered_samples += samples
        self.buffered_octets += len(item.payload) if isinstance(item, AudioPacket) else 0
        limit = _samples(BUFFER_S)
        while self.buffered_samples > limit or len(self._items) > MAX_ITEMS or self.buffered_octets > MAX_OCTETS:
            self._drop()

    def _drop(self) -> None:
        item, samples = self._items.popleft()
        self.buffered_samples -= samples
        self.buffered_octets -= len(item.payload) if isinstance(item, AudioPacket) else 0
        self._statistics.omitted_samples += samples

    def _clear(self) -> None:
        while self._items:
            self._drop()

    def _release(self, samples: int) -> Sequence[Item]:
        while self._items and self.buffered_samples - self._items[0][1] >= samples:
            self._drop()
        items = [item for item, _ in self._items]
        self.released_s = self.buffered_samples / SAMPLE_RATE
        self._items.clear()
        self.buffered_samples = self.buffered_octets = 0
        self._statistics.packets -= sum(isinstance(item, AudioPacket) for item in items)
        return items


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


@functools.cache
def _sample_decoder() -> Decoder:
    """The decoder for the samples of all publishers. It is reset for each sample."""
    return decoder()


def _decode(payloads: Sequence[tuple[bytes, int]]) -> Frame:
    """Decode payloads, each with its number of samples, with a reset decoder. Empty if one of them is malformed."""
    shared = _sample_decoder()
    shared.reset()
    out: Frame = np.empty(sum(samples for _, samples in payloads), np.float32)
    position = 0
    try:
        for payload, samples in payloads:
            shared.decode(payload, out[position : position + samples])
            position += samples
    except OpusError:
        return out[:0]
    np.nan_to_num(out, copy=False)
    return out

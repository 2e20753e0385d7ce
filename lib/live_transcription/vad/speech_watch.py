# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Selects the audio of a silent publisher that is worth decoding. Pure: the audio itself is the clock.

Packets are kept for `KEPT_S` without being decoded. A suspicion of speech releases them and ends the watch. From then on
everything is decoded, and voice activity detection decides. Two things raise a suspicion:

- **Audio levels** (RFC 6464): consecutive packets well above the noise level. This costs nothing and is immediate. Levels that
  were wrong `PATIENCE` times in a row are ignored for a while, which doubles up to half a minute.
- **Samples**: one frame of 80 ms in ten is decoded, whatever the levels say. Speech is noticed within one or two samples (0.8 s
  each). None of it is lost, since the packets before it are still kept.

Digital silence (level 127) is not kept. One packet in two seconds is decoded nevertheless. If it holds sound, the levels are
wrong, and `on_wrong_levels` is called.

The decoder starts from scratch at each sample and after each watch. The packets before the ones that matter warm it up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from live_transcription.audio.opus import TICKS_PER_SAMPLE, Decoder, decoder, packet_samples
from live_transcription.audio.pipeline import PipelineStatistics
from live_transcription.errors import OpusError
from live_transcription.types import DIGITAL_SILENCE, SAMPLE_RATE, AudioGap, AudioPacket, Frame

Item: TypeAlias = AudioPacket | AudioGap

#: Limits of what is kept: seconds of audio, number of packets and gaps, octets.
KEPT_S = 2.5
MOST_ITEMS = 256
MOST_OCTETS = 1 << 16
#: Seconds of audio released when levels raise the suspicion: the gate's pre-roll, plus a little to warm up the decoder.
LEVEL_KEPT_S = 0.9
#: Consecutive packets needed, and by how many dB above the noise. The noise counts as -80 dBov at least, so nothing below
#: -74 dBov counts as speech.
LOUD_PACKETS = 2
ABOVE_NOISE_DB = 6.0
QUIETEST_NOISE = 80.0
#: How fast the noise level follows the packets: down to quieter ones, and up to louder ones.
_FALL, _RISE = 0.1, 0.02
#: Consecutive wrong suspicions by levels that have no consequence; then seconds for which levels are ignored, first and most.
PATIENCE = 3
DISBELIEF_S = (4.0, 30.0)
#: Seconds from one sample to the next, and what is decoded for a sample: warm-up of the decoder, then the frame to examine.
SAMPLE_EVERY_S = 0.8
WARM_UP_S, SAMPLE_S = 0.06, 0.08
#: Seconds between two packets of digital silence that are decoded, and the peak amplitude from which they count as sound.
CHECK_EVERY_S = 2.0
SOUND_PEAK = 0.01
#: Payloads of at most so many octets hold no sound (RFC 6716, section 2.1.9; an empty frame).
_EMPTY_OCTETS = 3
_USUAL_SAMPLES = SAMPLE_RATE * 20 // 1000


class Sample(Protocol):
    """Examines samples of one publisher."""

    def may_be_speech(self, frame: Frame) -> bool: ...


class SpeechWatch:
    """One publisher's watch. `on_wrong_levels` is called when digital silence turns out to be sound.

    Audio that is never decoded counts as rested in `statistics`.
    """

    def __init__(self, statistics: PipelineStatistics, sample: Sample, on_wrong_levels: Callable[[], None]) -> None:
        #: Seconds of audio that were released last.
        self.handed_on_s = 0.0
        self._statistics = statistics
        self._sample = sample
        self._on_wrong_levels = on_wrong_levels
        #: Items with their number of samples; the totals follow.
        self._kept: deque[tuple[Item, int]] = deque()
        self._kept_samples = 0
        self._kept_octets = 0
        self._packet_samples = _USUAL_SAMPLES
        self._noise = QUIETEST_NOISE
        self._loud = 0
        self._by_level: float | None = None
        self._wrong = 0
        # In samples of audio: until levels count again, until the next sample, and until the next check of digital silence.
        self._disbelief = 0
        self._until_sample = _samples(SAMPLE_EVERY_S / 4)
        self._until_check = 0

    def begin(self, *, spoke: bool) -> None:
        """Watch from the next item on. `spoke`: the last suspicion was right."""
        self._loud = 0
        self._until_sample = _samples(SAMPLE_EVERY_S)
        if spoke:
            self._wrong = self._disbelief = 0
        elif self._by_level is not None:
            self._wrong += 1
            # The level that raised the wrong suspicion counts as noise for now.
            self._noise = min(self._noise, self._by_level)
            if self._wrong > PATIENCE:
                self._disbelief = _samples(min(DISBELIEF_S[1], DISBELIEF_S[0] * 2 ** min(self._wrong - PATIENCE - 1, 8)))
        self._by_level = None

    def push(self, item: Item) -> Sequence[Item]:
        """Take the next item. Returns the items to decode if the watch is over."""
        if not isinstance(item, AudioPacket):
            self._keep(item, min(item.duration // TICKS_PER_SAMPLE, _samples(KEPT_S)))
            return ()
        statistics = self._statistics
        statistics.packets += 1
        if item.audio_level == DIGITAL_SILENCE:  # by far the most frequent case, so it makes no call without need
            passed = self._packet_samples * (1 + item.skipped)
            statistics.silent += 1
            statistics.rested_samples += passed
            self._until_check -= passed
            if self._kept:
                self._forget()
                self._loud = 0
            if self._until_check <= 0:
                self._until_check = _samples(CHECK_EVERY_S)
                self._check(item)
            return ()
        samples = packet_samples(item.payload) or self._packet_samples
        self._packet_samples = samples
        self._keep(item, samples)
        self._until_sample -= samples
        if self._disbelief > 0:
            self._disbelief -= samples
        if item.audio_level is not None and self._is_loud(float(item.audio_level)):
            self._by_level = float(item.audio_level)
            return self._hand_on(_samples(LEVEL_KEPT_S))
        if self._until_sample <= 0:
            self._until_sample = _samples(SAMPLE_EVERY_S)
            if self._may_be_speech():
                return self._hand_on(self._kept_samples)
        return ()

    def _is_loud(self, level: float) -> bool:
        above = self._noise - level
        self._noise += (_FALL if above < 0 else _RISE) * (level - self._noise)
        self._noise = min(self._noise, QUIETEST_NOISE)
        self._loud = self._loud + 1 if above >= ABOVE_NOISE_DB else 0
        return self._loud >= LOUD_PACKETS and self._disbelief <= 0

    def _may_be_speech(self) -> bool:
        payloads: list[tuple[bytes, int]] = []
        wanted = _samples(WARM_UP_S + SAMPLE_S)
        for item, samples in reversed(self._kept):
            if wanted <= 0 or not isinstance(item, AudioPacket):
                break
            payloads.append((item.payload, samples))
            wanted -= samples
        frame = _decode(payloads[::-1])
        looked_at = _samples(SAMPLE_S)
        return len(frame) >= looked_at and self._sample.may_be_speech(frame[-looked_at:])

    def _check(self, packet: AudioPacket) -> None:
        if len(packet.payload) <= _EMPTY_OCTETS:
            return
        frame = _decode([(packet.payload, self._packet_samples)])
        if len(frame) and float(np.abs(frame).max()) >= SOUND_PEAK:
            self._on_wrong_levels()

    def _keep(self, item: Item, samples: int) -> None:
        self._kept.append((item, samples))
        self._kept_samples += samples
        self._kept_octets += len(item.payload) if isinstance(item, AudioPacket) else 0
        limit = _samples(KEPT_S)
        while self._kept_samples > limit or len(self._kept) > MOST_ITEMS or self._kept_octets > MOST_OCTETS:
            self._drop()

    def _drop(self) -> None:
        item, samples = self._kept.popleft()
        self._kept_samples -= samples
        self._kept_octets -= len(item.payload) if isinstance(item, AudioPacket) else 0
        self._statistics.rested_samples += samples

    def _forget(self) -> None:
        while self._kept:
            self._drop()

    def _hand_on(self, samples: int) -> Sequence[Item]:
        while self._kept and self._kept_samples - self._kept[0][1] >= samples:
            self._drop()
        items = [item for item, _ in self._kept]
        self.handed_on_s = self._kept_samples / SAMPLE_RATE
        self._kept.clear()
        self._kept_samples = self._kept_octets = 0
        self._statistics.packets -= sum(isinstance(item, AudioPacket) for item in items)
        return items


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


_shared_decoder: Decoder | None = None


def _decode(payloads: Sequence[tuple[bytes, int]]) -> Frame:
    """Decode payloads, each with its number of samples, from a reset decoder. Empty if one of them is malformed."""
    global _shared_decoder  # noqa: PLW0603  used within this function only, so one is enough for all publishers
    if _shared_decoder is None:
        _shared_decoder = decoder()
    _shared_decoder.reset()
    out: Frame = np.empty(sum(samples for _, samples in payloads), np.float32)
    position = 0
    try:
        for payload, samples in payloads:
            _shared_decoder.decode(payload, out[position : position + samples])
            position += samples
    except OpusError:
        return out[:0]
    np.nan_to_num(out, copy=False)
    return out

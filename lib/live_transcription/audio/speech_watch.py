# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which audio of a silent publisher is worth decoding. Pure: no clock but the audio itself.

Packets are kept for `KEPT_S` without being decoded. A suspicion of speech hands them on, and ends the watch: from then on
everything is decoded, and voice activity detection has the last word. Two things raise a suspicion:

- **Audio levels** (RFC 6464): packets in a row that are well above the level of the noise. This costs nothing and is noticed at
  once. Levels that were wrong `PATIENCE` times in a row are not believed for a while, which doubles up to half a minute.
- **Samples**: one frame of 80 ms in ten is decoded, whatever the levels say. Speech is noticed within one or two samples (0.8 s
  each), and none of it is lost, as the packets before it are still there.

Digital silence (level 127) is not kept. One packet in two seconds is decoded all the same: where it holds sound, the levels are
wrong, and the owner is told to ignore them.

A decoder begins anew at each sample and after each watch. The packets before those that matter bring it up to date.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from live_transcription.audio.opus import TICKS_PER_SAMPLE, Decoder, decoder, packet_samples
from live_transcription.audio.pipeline import PipelineStatistics
from live_transcription.errors import OpusError
from live_transcription.types import DIGITAL_SILENCE, SAMPLE_RATE, AudioGap, AudioPacket, DecodedAudio, Frame

Item: TypeAlias = AudioPacket | AudioGap

#: Kept at most: so much audio in seconds, so many packets and gaps, so many octets.
KEPT_S = 2.5
MOST_ITEMS = 256
MOST_OCTETS = 1 << 16
#: Handed on where levels raise the suspicion, in seconds: the gate's pre-roll, and a little to begin with.
LEVEL_KEPT_S = 0.9
#: Packets in a row that have to be so many dB above the noise. Nothing below -74 dBov is speech.
LOUD_PACKETS = 2
ABOVE_NOISE_DB = 6.0
QUIETEST_NOISE = 80.0
#: How fast the level of the noise follows the packets: down to quieter ones, up to louder ones.
_FALL, _RISE = 0.1, 0.02
#: Wrong suspicions by levels in a row that cost nothing; how long levels are not believed then, in seconds, and at most.
PATIENCE = 3
DISBELIEF_S = (4.0, 30.0)
#: Between two samples, and what of it is decoded: to bring the decoder up to date, and to be looked at; in seconds.
SAMPLE_EVERY_S = 0.8
WARM_UP_S, SAMPLE_S = 0.06, 0.08
#: Between two packets of digital silence that are decoded, in seconds, and the peak from which they are none.
CHECK_EVERY_S = 2.0
SOUND_PEAK = 0.01
#: Payloads of so few octets hold no sound (RFC 6716, section 2.1.9; an empty frame).
_EMPTY_OCTETS = 3
_USUAL_SAMPLES = SAMPLE_RATE * 20 // 1000


class Sample(Protocol):
    """Looks at samples of one publisher."""

    def may_be_speech(self, frame: Frame) -> bool: ...


class SpeechWatch:
    """One publisher's watch. `on_wrong_levels` is called when digital silence turns out to be sound.

    What is never decoded counts in `statistics` as rested.
    """

    def __init__(self, statistics: PipelineStatistics, sample: Sample, on_wrong_levels: Callable[[], None]) -> None:
        #: Seconds of audio that were handed on last.
        self.handed_on_s = 0.0
        self._statistics = statistics
        self._sample = sample
        self._on_wrong_levels = on_wrong_levels
        #: Items with their samples, and the sums.
        self._kept: deque[tuple[Item, int]] = deque()
        self._kept_samples = 0
        self._kept_octets = 0
        self._packet_samples = _USUAL_SAMPLES
        self._noise = QUIETEST_NOISE
        self._loud = 0
        self._by_level: float | None = None
        self._wrong = 0
        # Samples until levels are believed, until the next sample, and until the next check of digital silence.
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
            # What was loud enough to be suspicious is noise, for the moment.
            self._noise = min(self._noise, self._by_level)
            if self._wrong > PATIENCE:
                self._disbelief = _samples(min(DISBELIEF_S[1], DISBELIEF_S[0] * 2 ** min(self._wrong - PATIENCE - 1, 8)))
        self._by_level = None

    def push(self, item: Item | DecodedAudio) -> Sequence[Item | DecodedAudio]:
        """Take the next packet or gap. What has to be decoded now, if the watch is over; audio that is decoded ends it."""
        if not isinstance(item, AudioPacket):
            if isinstance(item, DecodedAudio):
                return (item,)
            self._keep(item, min(item.duration // TICKS_PER_SAMPLE, _samples(KEPT_S)))
            return ()
        statistics = self._statistics
        statistics.packets += 1
        if item.audio_level == DIGITAL_SILENCE:  # by far the most frequent: no call unless something is to be done
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
    """Packets with their samples, by a decoder that has heard nothing before; empty if one of them is malformed."""
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

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Turns a speaker's packets and gaps into frames of 24 kHz mono float32, on a timeline without holes.

Packets are collected, by the duration that each one states, until they complete a frame. Then they are decoded in one go,
directly into that frame, without additional delay.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.audio.framer import Framer
from live_transcription.audio.opus import MAX_PACKET_SAMPLES, STEP_SAMPLES, TICKS_PER_SAMPLE, Decoder, decoder, packet_samples
from live_transcription.errors import OpusError
from live_transcription.types import DIGITAL_SILENCE, SAMPLE_RATE, AudioGap, AudioPacket, Frame

logger = logging.getLogger(__name__)

#: Payloads of at most so many octets for 10 ms and more hold no sound. They mark audio that is not transmitted (RFC 6716,
#: section 2.1.9), for which a decoder would make comfort noise.
_DTX_OCTETS = 3
_DTX_SAMPLES = SAMPLE_RATE * 10 // 1000
#: Decoded audio below this peak is silence; from then on packets of digital silence need not be decoded.
_SILENT_PEAK = 1e-3
#: A packet that cannot be read counts as one of 20 ms, the length that every browser sends, until one could be read.
_USUAL_SAMPLES = SAMPLE_RATE * 20 // 1000
#: Where decoded audio meets filled silence, 5 ms of ramp keep the step from clicking.
_RAMP_SAMPLES = SAMPLE_RATE * 5 // 1000
_MAX_GAP_SAMPLES = SAMPLE_RATE * 10
#: Longer silence is left out, as are longer mutes without packets: every pause has been noticed by then, and muted speakers
#: cost no frames.
_MAX_SILENCE_SAMPLES = SAMPLE_RATE * 2


@dataclass(slots=True)
class PipelineStatistics:
    """Counts of packets, and of samples at 24 kHz by where they came from; `rested_samples`: of silence that was left out."""

    packets: int = 0
    malformed: int = 0
    silent: int = 0
    decoded_samples: int = 0
    concealed_samples: int = 0
    recovered_samples: int = 0
    silence_samples: int = 0
    rested_samples: int = 0


class AudioPipeline:
    """Synchronous: the packet that completes a frame puts it into the queue. No input makes it raise."""

    def __init__(self, queue: FrameQueue, *, frame_ms: int = 80) -> None:
        self.statistics = PipelineStatistics()
        self._queue = queue
        self._frame_ms = frame_ms
        self._framer = Framer(frame_ms)
        self._decoder: Decoder | None = None
        #: Items in order, each with its samples, and how many are still missing for a frame.
        self._waiting: list[tuple[AudioPacket | AudioGap, int]] = []
        self._missing = self._framer.frame_samples
        self._packet_samples = _USUAL_SAMPLES
        self._decoded_is_silent = True
        self._silent_samples = 0
        self._resting = False

    def feed(self, item: AudioPacket | AudioGap) -> None:
        """The next packet or gap in sequence order. A malformed packet costs its own time only: it is concealed."""
        if isinstance(item, AudioPacket):
            self.statistics.packets += 1
            if item.skipped:
                self._skip(item.skipped)
            if self._resting and item.audio_level == DIGITAL_SILENCE:
                self.statistics.silent += 1
                self.statistics.rested_samples += self._packet_samples
                return
            samples = packet_samples(item.payload)
            if samples is None:
                samples = self._packet_samples
            else:
                self._packet_samples = samples
        else:
            samples = min(item.duration // TICKS_PER_SAMPLE, _MAX_GAP_SAMPLES)
            if samples <= 0:
                return
        self._resting = False
        self._waiting.append((item, samples))
        self._missing -= samples
        if self._missing <= 0:
            self._render()

    def drain(self) -> None:
        """Emit the open frame, padded with silence, so that nothing of the last words is lost."""
        self._render()
        frame = self._framer.drain()
        if frame is not None:
            self._queue.put(frame)
        self._missing = self._framer.missing

    def rest(self) -> None:
        """Release the decoder and the open frame: the next item does not continue the previous ones."""
        self._waiting = []
        self._decoder = None
        self._framer = Framer(self._frame_ms)
        self._missing = self._framer.missing
        self._decoded_is_silent = True
        self._silent_samples = _MAX_SILENCE_SAMPLES
        self._resting = False

    def _skip(self, packets: int) -> None:
        samples = packets * self._packet_samples
        if self._resting:
            self.statistics.rested_samples += samples
        else:
            self.feed(AudioGap(samples * TICKS_PER_SAMPLE, lost=False))

    def _render(self) -> None:
        """Turn all waiting packets into samples, and queue each frame that they complete."""
        waiting, self._waiting = self._waiting, []
        for item, samples in waiting:
            if isinstance(item, AudioPacket):
                self._packet(item, samples)
            elif item.lost:
                self._lost(item.fec_payload, samples)
            else:
                self._silence(samples)
        self._missing = self._framer.missing
        self._resting = self._decoded_is_silent and self._silent_samples >= _MAX_SILENCE_SAMPLES

    def _packet(self, packet: AudioPacket, samples: int) -> None:
        digital_silence = packet.audio_level == DIGITAL_SILENCE
        few = len(packet.payload) <= _DTX_OCTETS and samples >= _DTX_SAMPLES
        # With encoder and decoder both at rest, leaving the packet out keeps them in step.
        if (digital_silence and self._decoded_is_silent) or (few and packet_samples(packet.payload)):
            self.statistics.silent += 1
            self._silence(samples)
            return
        if self._decoder is None:
            self._decoder = decoder()
        out = self._space(samples)
        try:
            self._decoder.decode(packet.payload, out)
        except OpusError as error:
            self.statistics.malformed += 1
            if self.statistics.malformed & (self.statistics.malformed - 1) == 0:  # the 1st, 2nd, 4th, 8th, …
                logger.debug("%s It is concealed; %d such packets so far", error, self.statistics.malformed)
            self._conceal(samples)
            return
        self.statistics.decoded_samples += samples
        self._decoded_is_silent = digital_silence and bool(np.abs(out).max() < _SILENT_PEAK)
        self._sound(out)

    def _lost(self, fec_payload: bytes | None, samples: int) -> None:
        carried = min(samples, self._packet_samples) // STEP_SAMPLES * STEP_SAMPLES
        if fec_payload is None or self._decoder is None or not carried:
            self._conceal(samples)
            return
        self._conceal(samples - carried)
        out = self._space(carried)
        if self._decoder.recover(fec_payload, out):
            self.statistics.recovered_samples += carried
            self._sound(out)
        else:
            self._conceal(carried)

    def _conceal(self, samples: int) -> None:
        if self._silent_samples:  # what is lost in silence is silence
            self._silence(samples)
            return
        self.statistics.concealed_samples += samples
        while samples > 0:
            out = self._space(min(samples, MAX_PACKET_SAMPLES))
            if self._decoder is None:
                out[:] = 0.0
            else:
                self._decoder.conceal(out)
            self._sound(out)
            samples -= len(out)

    def _silence(self, samples: int) -> None:
        wanted = max(0, min(samples, _MAX_SILENCE_SAMPLES - self._silent_samples))
        self.statistics.silence_samples += wanted
        self.statistics.rested_samples += samples - wanted
        if not wanted:
            return
        last = self._framer.last_sample
        out = self._space(wanted)
        out[:] = 0.0
        if last:
            ramp = out[:_RAMP_SAMPLES]
            ramp[:] = last * np.linspace(1.0, 0.0, len(ramp), dtype=np.float32)
        self._silent_samples += wanted
        self._written(out)

    def _sound(self, out: Frame) -> None:
        """Complete the samples in `out` of `_space`, with a ramp after silence."""
        if self._silent_samples:
            self._silent_samples = 0
            ramp = out[:_RAMP_SAMPLES]
            ramp *= np.linspace(0.0, 1.0, len(ramp), dtype=np.float32)
        self._written(out)

    def _space(self, samples: int) -> Frame:
        """Where the next samples are to be written: in the open frame, or beside it where they go beyond its end."""
        if samples <= self._framer.missing:
            return self._framer.reserve(samples)
        return np.empty(samples, dtype=np.float32)

    def _written(self, out: Frame) -> None:
        if len(out) <= self._framer.missing:
            frame = self._framer.commit(len(out))
            if frame is not None:
                self._queue.put(frame)
            return
        for frame in self._framer.push(out):
            self._queue.put(frame)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Decode a publisher's packets and gaps into frames of 24 kHz mono float32, on a timeline without holes.

Packets are collected, by the duration that each one states, until they complete a frame. Then they are decoded together,
directly into that frame. This adds no delay.
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

#: Payloads of at most so many octets for 10 ms or more contain no sound. They mark audio that is not transmitted (RFC 6716,
#: section 2.1.9), for which a decoder would produce comfort noise.
_DTX_OCTETS = 3
_DTX_SAMPLES = SAMPLE_RATE * 10 // 1000
#: Decoded audio below this peak is silence. After it, packets of digital silence need not be decoded.
_SILENT_PEAK = 1e-3
#: Assumed duration of malformed packets before the first well-formed one: 20 ms, as every browser sends.
_USUAL_SAMPLES = SAMPLE_RATE * 20 // 1000
#: Between decoded audio and filled silence, a ramp of 5 ms prevents a click.
_RAMP_SAMPLES = SAMPLE_RATE * 5 // 1000
_MAX_GAP_SAMPLES = SAMPLE_RATE * 10
#: Silence beyond this length is omitted, as are mutes without packets. Every pause has been detected by then, and a muted
#: publisher costs no frames.
_MAX_SILENCE_SAMPLES = SAMPLE_RATE * 2


@dataclass(slots=True)
class PipelineStatistics:
    """Counts of packets, and of samples at 24 kHz by their origin. `omitted_samples` counts silence that made no frames."""

    packets: int = 0
    malformed: int = 0
    silent: int = 0
    decoded_samples: int = 0
    concealed_samples: int = 0
    recovered_samples: int = 0
    silence_samples: int = 0
    omitted_samples: int = 0


class AudioPipeline:
    """Decodes one publisher's audio. The packet that completes a frame puts it into the queue. No input makes it raise."""

    def __init__(self, queue: FrameQueue, *, frame_ms: int = 80) -> None:
        self.statistics = PipelineStatistics()
        self._queue = queue
        self._frame_ms = frame_ms
        self._framer = Framer(frame_ms)
        self._decoder: Decoder | None = None
        # Items in order with their number of samples, and the number of samples that are missing for a frame.
        self._waiting: list[tuple[AudioPacket | AudioGap, int]] = []
        self._missing = self._framer.frame_samples
        self._packet_samples = _USUAL_SAMPLES
        self._decoded_is_silent = True
        self._silent_samples = 0
        self._idle = False

    def feed(self, item: AudioPacket | AudioGap) -> None:
        """Add the next packet or gap in sequence order. A malformed packet is concealed and affects no other audio."""
        if isinstance(item, AudioPacket):
            self.statistics.packets += 1
            if self._idle and item.audio_level == DIGITAL_SILENCE:
                self.statistics.silent += 1
                self.statistics.omitted_samples += self._packet_samples
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
            if self._idle and not item.lost:
                self.statistics.omitted_samples += samples
                return
        self._idle = False
        self._waiting.append((item, samples))
        self._missing -= samples
        if self._missing <= 0:
            self._render()

    def drain(self) -> None:
        """Queue the open frame, padded with silence, so that nothing of the last words is lost."""
        self._render()
        frame = self._framer.drain()
        if frame is not None:
            self._queue.put(frame)
        self._missing = self._framer.missing

    def reset(self) -> None:
        """Release the decoder and the open frame, since the next item does not continue the previous ones."""
        self._waiting = []
        self._decoder = None
        self._framer = Framer(self._frame_ms)
        self._missing = self._framer.missing
        self._decoded_is_silent = True
        self._silent_samples = _MAX_SILENCE_SAMPLES
        self._idle = False

    def _render(self) -> None:
        """Decode all waiting items, and queue each frame that they complete."""
        waiting, self._waiting = self._waiting, []
        for item, samples in waiting:
            if isinstance(item, AudioPacket):
                self._packet(item, samples)
            elif item.lost:
                self._lost(item.fec_payload, samples)
            else:
                self._silence(samples)
        self._missing = self._framer.missing
        self._idle = self._decoded_is_silent and self._silent_samples >= _MAX_SILENCE_SAMPLES

    def _packet(self, packet: AudioPacket, samples: int) -> None:
        digital_silence = packet.audio_level == DIGITAL_SILENCE
        not_transmitted = len(packet.payload) <= _DTX_OCTETS and samples >= _DTX_SAMPLES and packet_samples(packet.payload)
        # The decoder's output has faded to silence, so leaving the packet out keeps it in step with the encoder.
        if (digital_silence and self._decoded_is_silent) or not_transmitted:
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
                logger.debug("%s It is concealed (%d malformed packets so far)", error, self.statistics.malformed)
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
        if self._silent_samples:  # between silence there is silence
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
        self.statistics.omitted_samples += samples - wanted
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
        """Add decoded samples, which are in `out`, with a ramp after silence."""
        if self._silent_samples:
            self._silent_samples = 0
            ramp = out[:_RAMP_SAMPLES]
            ramp *= np.linspace(0.0, 1.0, len(ramp), dtype=np.float32)
        self._written(out)

    def _space(self, samples: int) -> Frame:
        """Return where to write the next samples: in the open frame, or in a new array if they exceed it."""
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

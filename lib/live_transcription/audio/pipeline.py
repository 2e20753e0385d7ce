# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A speaker's packets and gaps to frames of 24 kHz mono float32, on a timeline without holes."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from live_transcription.audio.frame_queue import FrameQueue
from live_transcription.audio.framer import Framer
from live_transcription.audio.opus import Decoder, decoder
from live_transcription.errors import OpusError
from live_transcription.types import OPUS_CLOCK_RATE, SAMPLE_RATE, AudioGap, AudioPacket, Frame

logger = logging.getLogger(__name__)

_TICKS_PER_SAMPLE = OPUS_CLOCK_RATE // SAMPLE_RATE
#: RFC 6464's level of digital silence, in -dBov.
_DIGITAL_SILENCE = 127
#: Decoded audio below this peak is silence; from then on packets of digital silence need not be decoded.
_SILENT_PEAK = 1e-3
#: A packet that cannot be read counts as one of 20 ms, the length that every browser sends, until one could be read.
_USUAL_SAMPLES = SAMPLE_RATE * 20 // 1000
#: Where decoded audio meets filled silence, 5 ms of ramp keep the step from clicking.
_RAMP_SAMPLES = SAMPLE_RATE * 5 // 1000
_MAX_GAP_S = 10


@dataclass(slots=True)
class PipelineStatistics:
    """Counts of packets, and of samples at 24 kHz by where they came from."""

    packets: int = 0
    malformed: int = 0
    silent: int = 0
    decoded_samples: int = 0
    concealed_samples: int = 0
    recovered_samples: int = 0
    silence_samples: int = 0


class AudioPipeline:
    """Synchronous: `feed` decodes at once and puts whole frames into the queue. No input makes it raise."""

    def __init__(self, queue: FrameQueue, *, frame_ms: int = 80) -> None:
        self.statistics = PipelineStatistics()
        self._queue = queue
        self._framer = Framer(frame_ms)
        self._decoder: Decoder | None = None
        self._packet_samples = _USUAL_SAMPLES
        self._last_sample = 0.0
        self._decoded_is_silent = True
        self._after_silence = False

    def feed(self, item: AudioPacket | AudioGap) -> None:
        """The next packet or gap in sequence order. A malformed packet costs its own time only: it is concealed."""
        if isinstance(item, AudioPacket):
            self._packet(item)
        elif item.lost:
            self._lost(item)
        else:
            self._silence(item.duration // _TICKS_PER_SAMPLE)

    def drain(self) -> None:
        """Emit the open frame, padded with silence, so that nothing of the last words is lost."""
        frame = self._framer.drain()
        if frame is not None:
            self._queue.put(frame)

    def _packet(self, packet: AudioPacket) -> None:
        self.statistics.packets += 1
        if packet.audio_level == _DIGITAL_SILENCE and self._decoded_is_silent:
            # Encoder and decoder are both at rest: leaving the packet out keeps them in step.
            self.statistics.silent += 1
            self._silence(self._packet_samples)
            return
        if self._decoder is None:
            self._decoder = decoder()
        try:
            samples = self._decoder.decode(packet.payload)
        except OpusError as error:
            self.statistics.malformed += 1
            if self.statistics.malformed & (self.statistics.malformed - 1) == 0:  # the 1st, 2nd, 4th, 8th, …
                logger.debug("%s It is concealed; %d such packets so far", error, self.statistics.malformed)
            self._conceal(self._packet_samples)
            return
        if len(samples) == 0:
            return
        self._packet_samples = len(samples)
        self.statistics.decoded_samples += len(samples)
        self._decoded_is_silent = packet.audio_level == _DIGITAL_SILENCE and float(np.abs(samples).max()) < _SILENT_PEAK
        self._emit_decoded(samples)

    def _lost(self, gap: AudioGap) -> None:
        samples = gap.duration // _TICKS_PER_SAMPLE
        if gap.fec_payload is None or self._decoder is None:
            self._conceal(samples)
            return
        carried = min(samples, self._packet_samples)
        self._conceal(samples - carried)
        recovered = self._decoder.recover(gap.fec_payload, carried)
        if recovered is None:
            self._conceal(carried)
            return
        self.statistics.recovered_samples += len(recovered)
        self._emit_decoded(recovered)
        self._conceal(carried - len(recovered))

    def _conceal(self, samples: int) -> None:
        samples = min(samples, _MAX_GAP_S * SAMPLE_RATE)
        self.statistics.concealed_samples += max(0, samples)
        while samples > 0:
            if self._decoder is None:
                self._emit(np.zeros(samples, dtype=np.float32))
                return
            concealed = self._decoder.conceal(samples)[:samples]
            self._emit_decoded(concealed)
            samples -= len(concealed)

    def _silence(self, samples: int) -> None:
        samples = min(samples, _MAX_GAP_S * SAMPLE_RATE)
        if samples <= 0:
            return
        self.statistics.silence_samples += samples
        silence = np.zeros(samples, dtype=np.float32)
        if self._last_sample != 0.0:
            ramp = min(samples, _RAMP_SAMPLES)
            silence[:ramp] = self._last_sample * np.linspace(1.0, 0.0, ramp, dtype=np.float32)
            self._last_sample = 0.0
        self._after_silence = True
        self._emit(silence)

    def _emit_decoded(self, samples: Frame) -> None:
        if self._after_silence and len(samples):
            ramp = min(len(samples), _RAMP_SAMPLES)
            samples[:ramp] *= np.linspace(0.0, 1.0, ramp, dtype=np.float32)
            self._after_silence = False
        if len(samples):
            self._last_sample = float(samples[-1])
        self._emit(samples)

    def _emit(self, samples: Frame) -> None:
        for frame in self._framer.push(samples):
            self._queue.put(frame)

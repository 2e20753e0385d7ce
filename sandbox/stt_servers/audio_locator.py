# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A model of Kyutai's output for one session's frames: `Step`, `Word` and `EndWord`, with its delay and pause heads. Pure.

Follows `rust/moshi-core/src/asr.rs` of kyutai-labs/moshi: a word comes `DELAY_S` after its audio; its `EndWord` comes only
as the next word begins, and so never for the last one; `Step` goes before the words of the same step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from live_transcription.types import Frame
from sandbox.stt_servers.moshi_messages import EndWord, Outgoing, Step, Word
from sandbox.stt_servers.words import FRAME_S, HeardWord, WordSource

#: Steps, and seconds, that the 1B model's words come behind the audio.
DELAY_STEPS = 6
DELAY_S = DELAY_STEPS * FRAME_S

#: Steps at the start of a session in which the pause heads mean nothing.
UNSURE_STEPS = 12

#: The seconds of silence at which each of the four pause heads is at one half.
_PAUSE_S = (0.2, 0.35, 0.5, 0.8)
_QUIET_RMS = 0.002


#: Steps of audio that push a frame with NaN out of the codec's memory: each of its 8 layers looks back 125 steps.
SPOILT_STEPS = 1000


@dataclass(slots=True)
class SlotMemory:
    """The part of a slot that a new session does not reset. `spoilt_steps`: how long it still hears nothing."""

    spoilt_steps: int = 0


class Hearing:
    """One session's decoding. A frame with NaN in it spoils the slot's memory, for the sessions to come as well.

    `pause_heads` False: a model without them, whose server sends no `Step` at all. `delay_steps`: how late its words are.
    """

    def __init__(
        self,
        source: WordSource,
        memory: SlotMemory | None = None,
        *,
        delay_steps: int = DELAY_STEPS,
        pause_heads: bool = True,
    ) -> None:
        self._source = source
        self._memory = memory or SlotMemory()
        self._delay_s = delay_steps * FRAME_S
        self._has_pause_heads = pause_heads
        self.steps = 0
        self._silence_s = 0.0
        self._peak = 0.0
        self._begun: list[HeardWord] = []
        self._unended = False
        self._last_stop_s = 0.0

    @property
    def audio_s(self) -> float:
        """Seconds of audio that steps were made of."""
        return self.steps * FRAME_S

    @property
    def ready(self) -> bool:
        """Whether the words that the next step has to bring are known."""
        return self._source.settled_s >= (self.steps + 1) * FRAME_S - self._delay_s

    def step(self, frame: Frame, step_idx: int, buffered_pcm: int) -> list[Outgoing]:
        """One model step over `FRAME_SAMPLES` samples, which the source has been fed before."""
        self.steps += 1
        self._memory.spoilt_steps = max(0, self._memory.spoilt_steps - 1) if np.isfinite(frame).all() else SPOILT_STEPS
        spoilt = self._memory.spoilt_steps > 0
        outgoing: list[Outgoing] = []
        if self._has_pause_heads:
            outgoing.append(Step(step_idx, self._pause_heads(np.zeros_like(frame) if spoilt else frame), buffered_pcm))
        words = self._source.take_words(self.audio_s - self._delay_s)
        if spoilt:
            return outgoing
        for word in words:
            stop_s = min(np.floor(word.start_s / FRAME_S) * FRAME_S, self.audio_s - self._delay_s)
            self._last_stop_s = max(self._last_stop_s, float(stop_s))
            if self._unended:
                outgoing.append(EndWord(self._last_stop_s))
            outgoing.append(Word(word.text, self._last_stop_s))
            self._unended = True
        return outgoing

    def _pause_heads(self, frame: Frame) -> tuple[float, ...]:
        loudness = float(np.sqrt(np.mean(np.square(frame, dtype=np.float64))))
        self._peak = max(self._peak * 0.995, loudness)
        self._silence_s = self._silence_s + FRAME_S if loudness < max(_QUIET_RMS, 0.04 * self._peak) else 0.0
        if self.steps <= UNSURE_STEPS:
            return (0.9,) * len(_PAUSE_S)
        return tuple(float(1.0 / (1.0 + np.exp(-8.0 * (self._silence_s - pause_s)))) for pause_s in _PAUSE_S)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Turns one speaker's events into captions: drives the pure assembler with the loop's time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from live_transcription.captions.assembler import CaptionAssembler
from live_transcription.captions.policy import Committed
from live_transcription.observability import metrics
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.transcript import SttEvent
from live_transcription.types import Caption, Utterance


class Captioner:
    """Passes committed words to `on_caption` as they come, and utterances to `on_utterance` when they end."""

    def __init__(
        self,
        speaker: str,
        language: str,
        on_caption: Callable[[Caption], None],
        on_utterance: Callable[[Utterance], None] | None = None,
    ) -> None:
        self.language = language
        self._speaker = speaker
        self._on_caption = on_caption
        self._on_utterance = on_utterance
        self._assembler = CaptionAssembler()
        self._alarm = DeadlineTimer(self._tick)
        self._disagreed = 0
        self._speech_began: float | None = None
        self._speech_ended: float | None = None
        self._last_word_at = float("-inf")

    def feed(self, event: SttEvent) -> None:
        now = self._now()
        self._give(self._assembler.feed(event, now), now)

    def start_of_speech(self, ago_s: float) -> None:
        """Somebody began to speak `ago_s` seconds before it was noticed."""
        self._speech_began = self._now() - ago_s

    def end_of_speech(self, ago_s: float) -> None:
        """Speech ended `ago_s` seconds before it was noticed; a flush was asked for."""
        self._speech_ended = self._now() - ago_s

    def finalise(self) -> None:
        """Commit the rest at once."""
        now = self._now()
        self._give(self._assembler.finalise(now), now)

    def close(self) -> None:
        """Nothing comes any more."""
        self._alarm.cancel()

    def _tick(self) -> None:
        now = self._now()
        self._give(self._assembler.tick(now), now)

    def _give(self, results: Sequence[Committed], now: float) -> None:
        for result in results:
            if result.text:
                self._count_words(result.text, now)
                self._on_caption(Caption(self._speaker, result.text, self.language))
            if result.utterance is not None:
                if self._speech_ended is not None:
                    metrics.last_word_seconds.observe(max(0.0, self._last_word_at - self._speech_ended))
                    self._speech_ended = None
                if self._on_utterance is not None:
                    self._on_utterance(Utterance(self._speaker, result.utterance, self.language))
        if (disagreed := self._assembler.disagreed) > self._disagreed:
            metrics.words_disagreed.inc(disagreed - self._disagreed)
            self._disagreed = disagreed
        self._alarm.set(self._assembler.next_deadline())

    def _count_words(self, text: str, now: float) -> None:
        metrics.words_committed.inc(len(text.split()))
        self._last_word_at = now
        if self._speech_began is not None:
            metrics.first_word_seconds.observe(max(0.0, now - self._speech_began))
            self._speech_began = None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

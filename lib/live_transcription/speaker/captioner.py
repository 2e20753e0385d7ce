# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One speaker's events to captions: drives the pure assembler and throttle with the loop's time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from live_transcription.alarm import Alarm
from live_transcription.captions.assembler import CaptionAssembler
from live_transcription.captions.pace import Pace
from live_transcription.captions.policy import UtteranceText
from live_transcription.captions.throttle import CaptionThrottle
from live_transcription.config import CaptionConfig
from live_transcription.observability import metrics
from live_transcription.stt_events import SttEvent
from live_transcription.types import Caption


class Captioner:
    """Gives captions to `on_caption` as they become due. A final with empty text takes the open utterance back."""

    def __init__(
        self,
        speaker: str,
        language: str,
        config: CaptionConfig,
        on_caption: Callable[[Caption], None],
        *,
        pace: Pace | None = None,
    ) -> None:
        self.language = language
        self._speaker = speaker
        self._on_caption = on_caption
        self._assembler = CaptionAssembler()
        self._throttle = CaptionThrottle(config.partial_interval_s, partials=config.partials, pace=pace)
        self._superseded = 0
        self._alarm = Alarm(self._tick)
        self._speech_began: float | None = None
        self._speech_ended: float | None = None

    def feed(self, event: SttEvent) -> None:
        now = self._now()
        self._offer(self._assembler.feed(event, now), now)

    def start_of_speech(self, ago_s: float) -> None:
        """Somebody began to speak `ago_s` seconds before it was noticed."""
        now = self._now()
        self._speech_began = now - ago_s
        self._offer(self._assembler.start_of_speech(now), now)

    def end_of_speech(self, ago_s: float) -> None:
        """Speech ended `ago_s` seconds before it was noticed; a flush was asked for."""
        now = self._now()
        self._speech_ended = now - ago_s
        self._offer(self._assembler.end_of_speech(now), now)

    def finalise(self) -> None:
        """Close what is open, with the words it has."""
        now = self._now()
        self._offer(self._assembler.finalise(now), now)

    def close(self) -> None:
        """Nothing comes any more."""
        self._alarm.cancel()

    def _tick(self) -> None:
        now = self._now()
        self._offer(self._assembler.tick(now), now)

    def _offer(self, utterances: Sequence[UtteranceText], now: float) -> None:
        due = self._throttle.tick(now)
        for utterance in utterances:
            due += self._throttle.offer(utterance, now)
        for utterance in due:
            self._time(utterance, now)
            self._on_caption(Caption(self._speaker, utterance.text, self.language, utterance.final))
        if (superseded := self._throttle.superseded) > self._superseded:
            metrics.captions_superseded.inc(superseded - self._superseded)
            self._superseded = superseded
        deadlines = (self._assembler.next_deadline(), self._throttle.next_deadline())
        self._alarm.set(min((deadline for deadline in deadlines if deadline is not None), default=None))

    def _time(self, utterance: UtteranceText, now: float) -> None:
        if self._speech_began is not None and utterance.text:
            metrics.first_partial_seconds.observe(max(0.0, now - self._speech_began))
            self._speech_began = None
        if self._speech_ended is not None and utterance.final:
            metrics.final_seconds.observe(max(0.0, now - self._speech_ended))
            self._speech_ended = None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Turns one speaker's speech-to-text events into captions and utterances: runs the pure assembler on the event loop's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from live_transcription.captions.assembler import CaptionAssembler
from live_transcription.captions.masking import Mask, Masks, MaskStream
from live_transcription.captions.policy import Committed
from live_transcription.captions.spoken_language import SpokenLanguage
from live_transcription.observability import metrics
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.speaker.stream_clock import StreamClock
from live_transcription.transcript import Flushed, Gap, GapReason, Hypothesis, SttEvent, Token, Utterance, next_utterance_id
from live_transcription.types import SAMPLE_RATE, Caption

#: Minimum seconds of speech without words that count as a gap.
SHORTEST_GAP_S = 1.0


class Captioner:
    """Passes committed words to `on_caption` as they come, utterances to `on_utterance` when they end, and speech that was not
    transcribed to `on_gap`.

    `wall_clock` returns the Unix time in seconds.
    """

    def __init__(
        self,
        speaker: str,
        language: str,
        on_caption: Callable[[Caption], None],
        on_utterance: Callable[[Utterance], None] = lambda utterance: None,  # noqa: ARG005
        *,
        on_gap: Callable[[Gap], None] = lambda gap: None,  # noqa: ARG005
        masks: Callable[[], Masks] = Masks,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._speaker = speaker
        self._spoken = SpokenLanguage(language)
        self._on_caption = on_caption
        self._on_utterance = on_utterance
        self._on_gap = on_gap
        self._wall_clock = wall_clock
        self._assembler = CaptionAssembler()
        self._masks = masks
        self._masked = MaskStream()
        # The language of the words that were masked last.
        self._language = self._spoken.current
        self._alarm = DeadlineTimer(self._tick)
        self._disagreed = 0
        self._clock = StreamClock()
        # When the first and the last word of the open utterance were spoken.
        self._span: tuple[float, float] | None = None
        # The first and the last moment of the audio that was sent since the last word.
        self._unanswered: tuple[float, float] | None = None
        # For metrics: when speech began and ended, until a word is counted for it, and when the last word was committed.
        self._speech_began: float | None = None
        self._speech_ended: float | None = None
        self._last_word_at = float("-inf")

    @property
    def spoken_language(self) -> str | None:
        """The language of the speaker's last utterance that was long enough to know it; None if there is none."""
        return self._spoken.language

    def begin_stream(self, language: str) -> None:
        """The following events come from a new stream, whose time begins at 0."""
        self._spoken.begin_stream(language)
        self._clock = StreamClock()
        self._unanswered = None

    def audio_sent(self, samples: int, ended_at: float) -> None:
        """Audio was sent to the stream, the last sample of which was spoken at `ended_at` on the event loop's clock."""
        self._clock.add(samples, ended_at)
        started_at = ended_at - samples / SAMPLE_RATE if self._unanswered is None else self._unanswered[0]
        self._unanswered = (started_at, ended_at)

    def feed(self, event: SttEvent) -> None:
        """Take the next event of the stream."""
        now = self._now()
        if isinstance(event, Token | Hypothesis):
            self._spoken.hear(event.language)
        self._emit(self._assembler.feed(event, now), now, self._span_of(event, now))
        if isinstance(event, Flushed):
            self._unanswered = None

    def start_of_speech(self, ago_s: float) -> None:
        """Speech began `ago_s` seconds ago."""
        self._speech_began = self._now() - ago_s

    def end_of_speech(self, ago_s: float) -> None:
        """Speech ended `ago_s` seconds ago, and a flush was requested."""
        self._speech_ended = self._now() - ago_s

    def finalise(self, *, cut_short: bool = False) -> None:
        """Commit all words and end the utterance. `cut_short`: the stream has not delivered its last words."""
        now = self._now()
        self._emit(self._assembler.finalise(now), now, final=not cut_short)
        if kept := self._masked.release(self._mask()):
            self._send(kept, now)

    def stream_failed(self) -> None:
        """The stream has failed: end the utterance with the words it has. The audio since its last word is lost."""
        unanswered = self._unanswered
        self.finalise(cut_short=True)
        self._unanswered = None
        if unanswered is not None:
            self.not_transcribed(GapReason.NO_ENGINE, *unanswered)

    def not_transcribed(self, reason: GapReason, started_at: float, ended_at: float) -> None:
        """Speech between these times of the event loop's clock has no words."""
        if ended_at - started_at >= SHORTEST_GAP_S:
            to_unix_s = self._wall_clock() - self._now()
            self._on_gap(Gap(reason, started_at + to_unix_s, ended_at + to_unix_s, self._speaker))

    def close(self) -> None:
        """No more events follow."""
        self._alarm.cancel()

    def _tick(self) -> None:
        now = self._now()
        self._emit(self._assembler.tick(now), now)

    def _emit(
        self, results: Sequence[Committed], now: float, span: tuple[float, float] | None = None, *, final: bool = True
    ) -> None:
        for result in results:
            # An utterance that ends before a word, to keep it short, does not contain that word's time.
            if span is not None and (result.text or len(results) == 1):
                self._span = span if self._span is None else (min(self._span[0], span[0]), max(self._span[1], span[1]))
            if result.text:
                self._spoken.add(result.text)
            self._follow_language(now)
            masked = self._masked.feed(result, self._mask(), now)
            if masked.text:
                self._send(masked.text, now)
            if masked.utterance is not None:
                self._end_utterance(masked.utterance, now, final)
        self._follow_language(now)
        if kept := self._masked.expire(self._mask(), now):
            self._send(kept, now)
        if (disagreed := self._assembler.disagreed) > self._disagreed:
            metrics.words_disagreed.inc(disagreed - self._disagreed)
            self._disagreed = disagreed
        deadlines = (self._assembler.next_deadline(), self._masked.next_deadline())
        self._alarm.set(min((deadline for deadline in deadlines if deadline is not None), default=None))

    def _send(self, text: str, now: float) -> None:
        self._count_words(text, now)
        self._on_caption(Caption(self._speaker, text, self._language))

    def _mask(self) -> Mask | None:
        return self._masks().of(self._language)

    def _follow_language(self, now: float) -> None:
        """If the language has changed, send the words that masking keeps, masked and labelled in the former language."""
        if self._language == self._spoken.current:
            return
        if kept := self._masked.release(self._mask()):
            self._send(kept, now)
        self._language = self._spoken.current

    def _end_utterance(self, text: str, now: float, final: bool) -> None:
        if self._speech_ended is not None:
            metrics.last_word_seconds.observe(max(0.0, self._last_word_at - self._speech_ended))
            self._speech_ended = None
        (started_at, ended_at), self._span = self._span or (now, now), None
        to_unix_s = self._wall_clock() - now
        self._on_utterance(
            Utterance(
                next_utterance_id(),
                self._speaker,
                text,
                self._spoken.end_utterance(),
                final,
                started_at + to_unix_s,
                ended_at + to_unix_s,
            )
        )

    def _span_of(self, event: SttEvent, now: float) -> tuple[float, float] | None:
        """When the words of an event were spoken; now, if the engine does not say."""
        if not isinstance(event, Token | Hypothesis):
            return None
        if event.start_s is None or self._clock.empty:
            return now, now
        end_s = event.start_s if event.end_s is None else event.end_s
        return self._clock.time(event.start_s), self._clock.time(end_s)

    def _count_words(self, text: str, now: float) -> None:
        metrics.words_committed.inc(len(text.split()))
        self._unanswered = None
        self._last_word_at = now
        if self._speech_began is not None:
            metrics.first_word_seconds.observe(max(0.0, now - self._speech_began))
            self._speech_began = None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

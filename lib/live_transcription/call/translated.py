# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Delivers a call's captions to the readers of other languages: a lane per language, each segment translated once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from live_transcription.call.lane import RETRY_S, CaptionSink, Lane
from live_transcription.call.targets import Targets
from live_transcription.observability import metrics
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.signaling.requests import Recipient
from live_transcription.translation.lane import TranslationLane
from live_transcription.translation.segments import Segment, Segments
from live_transcription.translation.translator import Translations
from live_transcription.types import Caption


@dataclass(frozen=True, slots=True)
class _Language:
    """`segments` decides the next message, and `lane` sends it."""

    segments: TranslationLane
    lane: Lane


class TranslatedDelivery:
    """Translates committed words for those targets that want another language. Idle while there are none.

    No reader of the original waits for a translation.
    """

    def __init__(
        self, sink: CaptionSink, targets: Targets, translations: Translations, *, on_sent: Callable[[Caption], None]
    ) -> None:
        self._sink = sink
        self._targets = targets
        self._translations = translations
        self._on_sent = on_sent
        self._segments = Segments()
        self._languages: dict[str, _Language] = {}
        self._alarm = DeadlineTimer(self._tick)

    @property
    def waiting(self) -> bool:
        """Whether any words wait for a translation, for the end of their sentence, or for the outbox."""
        if not self._sink.in_room:
            return False
        unsent = (each.segments.unsent() or not each.lane.empty for each in self._languages.values())
        return self._segments.next_deadline() is not None or any(unsent)

    def set_language(self, nc_session_id: str, language: str | None) -> bool:
        """Translate a target's captions into this language from the next words on; None: send them as they are spoken.

        Words that the target would have got translated, and that were not sent yet, are sent at once as they were said.
        Returns False if the session is no target.
        """
        now = self._now()
        before, first_segment = self._targets.translation_of(nc_session_id)
        if before == language:
            return nc_session_id in self._targets
        # The target has read the words of the open segments in its former language.
        self._distribute(self._segments.clear(), now)
        if before is not None and (former := self._languages.get(before)) is not None:
            unsent = [segment for segment in former.segments.unsent() if segment.id >= first_segment]
            self._send_originals(unsent, nc_session_id)
        known = self._targets.translate(nc_session_id, language, self._segments.next_id)
        self._flush(now)
        return known

    def add(self, caption: Caption) -> None:
        """Add committed words of a speaker."""
        now = self._now()
        if self._update_languages(now):
            self._distribute(self._segments.offer(caption, now), now)
            self._flush(now)

    def end_utterance(self, speaker: str) -> None:
        """The speaker has paused or left."""
        now = self._now()
        self._distribute(self._segments.end_utterance(speaker), now)
        self._flush(now)

    def flush(self) -> None:
        """Send all captions that are due."""
        self._flush(self._now())

    def give_up(self) -> None:
        """The call ends: send the rest as it was said. Idempotent."""
        now = self._now()
        self._distribute(self._segments.clear(), now, translate=False)
        for language in self._languages.values():
            language.segments.give_up()
        self._flush(now)

    def close(self) -> None:
        """Send nothing more, and count what still waits as dropped."""
        self._alarm.cancel()
        self._segments.clear()
        for language in self._languages.values():
            self._drop(language)
        self._languages.clear()

    def _tick(self) -> None:
        now = self._now()
        self._distribute(self._segments.tick(now), now)
        self._flush(now)

    def _update_languages(self, now: float) -> bool:
        """Make one lane for each language that a session reads. Returns whether there is one."""
        if self._targets.expects_any(now):  # its readers are not listed yet
            return bool(self._languages)
        wanted = self._targets.translations(now)
        for name in self._languages.keys() - wanted:
            self._drop(self._languages.pop(name))
        for name in wanted - self._languages.keys():
            lane = Lane(self._sink, self._targets, self._on_sent)
            self._languages[name] = _Language(TranslationLane(name), lane)
        if not wanted:
            self._segments.clear()
        return bool(wanted)

    def _distribute(self, found: Sequence[Segment], now: float, *, translate: bool = True) -> None:
        """Give segments to all lanes, and request the translations that they need, unless the call ends."""
        if not found:
            return
        self._update_languages(now)
        for segment in found:
            for language in self._languages.values():
                if language.segments.add(segment, now) and translate and not self._request(language, segment):
                    language.segments.failed(segment.id)

    def _request(self, language: _Language, segment: Segment) -> bool:
        return self._translations.request(
            self,
            segment.text,
            segment.language,
            language.segments.language,
            wanted=partial(language.segments.wants, segment.id),
            done=partial(self._translated, language, segment.id),
        )

    def _translated(self, language: _Language, segment: int, text: str | None) -> None:
        if text is None:
            language.segments.failed(segment)
        else:
            language.segments.translated(segment, text)
        self._flush(self._now())

    def _flush(self, now: float) -> None:
        deadlines = [self._segments.next_deadline()]
        for name, language in self._languages.items():
            while (ready := language.lane.flush(now)) and (due := language.segments.next_caption(now)) is not None:
                metrics.translations.labels(due.outcome.value).inc()
                speaker = due.caption.speaker
                language.lane.add(due.caption, partial(self._targets.translation_recipients, speaker, name, due.segment))
            if ready:
                deadlines.append(language.segments.next_deadline())
            elif self._sink.in_room:  # a full outbox does not tell when it has room
                deadlines.append(now + RETRY_S)
        self._alarm.set(min((deadline for deadline in deadlines if deadline is not None), default=None))

    def _send_originals(self, segments: Sequence[Segment], nc_session_id: str) -> None:
        session_id = self._targets.session_of(nc_session_id)
        for segment in segments:
            if session_id not in (None, segment.speaker) and self._sink.in_room:
                caption = Caption(segment.speaker, segment.text, segment.language)
                self._sink.send_caption(Recipient(session_id), caption)

    def _drop(self, language: _Language) -> None:
        language.segments.clear()
        metrics.words_dropped.inc(language.segments.dropped_words + language.lane.clear())

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

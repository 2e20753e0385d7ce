# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Delivers a call's captions to the readers of other languages: a lane per language, each segment translated once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from live_transcription.call.lane import RETRY_S, CaptionSink, Lane
from live_transcription.call.targets import Choice, Targets
from live_transcription.observability import metrics
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.signaling.requests import Recipient
from live_transcription.translation.lane import TranslationLane
from live_transcription.translation.segments import Segment, Segments
from live_transcription.translation.translator import Translations
from live_transcription.types import Caption

#: Seconds for which a reader who changes between the original and a translation waits until no sentence is open. After that,
#: the open sentences are cut, which everybody notices: at most once per `CUT_S` in a call, whatever its readers do.
PATIENCE_S, CUT_S = 2.0, 10.0


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
        self._may_cut_at = float("-inf")
        self._alarm = DeadlineTimer(self._tick)

    @property
    def waiting(self) -> bool:
        """Whether any words wait for a translation, for the end of their sentence, or for the outbox."""
        if not self._sink.in_room:
            return False
        unsent = (each.segments.unsent() or not each.lane.empty for each in self._languages.values())
        return self._segments.next_deadline() is not None or any(unsent)

    def may_change(self, choice: Choice) -> bool:
        """Whether `change` is possible now, as far as the open sentences are concerned.

        The readers of originals have read the words of the open sentences, and the readers of translations have not. So a
        change between the two has to wait for the end of the sentence. A change from one language to another does not.
        """
        return not self.needs_originals(choice) or self._segments.next_deadline() is None or self._may_cut(choice, self._now())

    def needs_originals(self, choice: Choice) -> bool:
        """Whether this is a change from the originals or to them, so that no original caption may be waiting."""
        return choice.language is None or self._targets.translation_of(choice.nc_session_id)[0] is None

    def change(self, choice: Choice) -> None:
        """Put a choice into effect from the next segment on, unless the outbox is full: then try again.

        Words that the target would have got in its former language, and that were not sent yet, are sent as they were said.
        """
        now, name = self._now(), choice.nc_session_id
        if self.needs_originals(choice) and self._segments.next_deadline() is not None:
            if not self._may_cut(choice, now):
                return
            self._may_cut_at = now + CUT_S
            self._distribute(self._segments.clear(), now)
        before, _ = self._targets.translation_of(name)
        former = None if before is None else self._languages.get(before)
        if former is None or (former.lane.flush(now) and self._send_originals(former, name)):
            self._targets.translate(name, choice.language, self._segments.next_id)
        self._flush(now)

    def _may_cut(self, choice: Choice, now: float) -> bool:
        return now >= choice.since + PATIENCE_S and now >= self._may_cut_at

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
            elif self._sink.in_room:  # a full outbox does not signal when it has room
                deadlines.append(now + RETRY_S)
        self._alarm.set(min((deadline for deadline in deadlines if deadline is not None), default=None))

    def _send_originals(self, former: _Language, nc_session_id: str) -> bool:
        """Send a target what waits for translation, as it was said. Returns False if the outbox has refused some of it."""
        language, first_segment = self._targets.translation_of(nc_session_id)
        session_id = self._targets.session_of(nc_session_id)
        for segment in former.segments.unsent():
            if segment.id < first_segment:
                continue
            if session_id not in (None, segment.speaker):
                caption = Caption(segment.speaker, segment.text, segment.language)
                if not self._sink.send_caption(Recipient(session_id), caption):
                    return False
            # The lane of the former language does not repeat it to this target.
            self._targets.translate(nc_session_id, language, segment.id + 1)
        return True

    def _drop(self, language: _Language) -> None:
        language.segments.clear()
        metrics.words_dropped.inc(language.segments.dropped_words + language.lane.clear())

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Delivers a call's captions: from the floor through a lane per language to the outbox of the signaling session.

`captions.floor` decides whose words come next, a `Lane` sends them to every target, and `signaling.outbox` repeats what a
broken websocket may have lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from live_transcription.call.lane import RETRY_S, CaptionSink, Lane
from live_transcription.call.targets import Targets
from live_transcription.call.translated import TranslatedDelivery
from live_transcription.capacity.load import CaptionInterval
from live_transcription.captions.floor import CaptionFloor
from live_transcription.observability import metrics
from live_transcription.runtime.timer import DeadlineTimer
from live_transcription.transcript import Utterance
from live_transcription.translation.translator import NoTranslator, Translations
from live_transcription.types import Caption

#: Seconds between two moments at which all words are sent at once, since a reader changes the language.
HURRY_S = 1.0


class CaptionDelivery:
    """Sends the speakers' committed words. Words that cannot be sent yet wait in the floor, which merges and bounds them."""

    def __init__(
        self,
        sink: CaptionSink,
        targets: Targets,
        *,
        translations: Translations | None = None,
        on_sent: Callable[[Caption], None],
        interval: CaptionInterval | None = None,
    ) -> None:
        """`on_sent` is called when a message was sent to all its recipients; `interval` is longer under load."""
        translations = translations or Translations(NoTranslator())
        #: The captions for readers of other languages. They do not wait for the floor.
        self.translated = TranslatedDelivery(sink, targets, translations, on_sent=on_sent)
        self._sink = sink
        self._targets = targets
        self._floor = CaptionFloor(interval)
        self._lane = Lane(sink, targets, on_sent)
        self._counted_bytes = self._counted_dropped = 0
        self._alarm = DeadlineTimer(self._flush)
        self._choices_alarm = DeadlineTimer(self._change_languages)
        self._may_hurry_at = float("-inf")

    @property
    def blocked(self) -> bool:
        """Whether a full outbox keeps words from those who want them."""
        return self._lane.blocked

    def add(self, caption: Caption) -> None:
        """Add committed words of a speaker."""
        self._change_languages()
        self.translated.add(caption)
        self._floor.offer(caption, self._now())
        self._flush()
        self._change_languages()

    def translate(self, nc_session_id: str, language: str | None) -> bool:
        """Translate a target's captions into this language soon; None: send them as they are spoken.

        The change takes effect at once if no words wait, else at the end of a sentence or after a few seconds, and not before
        the outbox has taken the words so far. Returns False if the session is no target.
        """
        known = self._targets.choose(nc_session_id, language, self._now())
        self._change_languages()
        return known

    def end_utterance(self, utterance: Utterance) -> None:
        """The speaker has paused, so others may take the floor."""
        self.translated.end_utterance(utterance.speaker)
        self._floor.end_utterance(utterance.speaker)
        self._flush()
        self._change_languages()

    def leave(self, speaker: str, *, leaving: bool = True) -> None:
        """The speaker leaves: send the last words without waiting for the floor. `leaving=False`: the speaker is back."""
        if leaving:
            self.translated.end_utterance(speaker)
        self._floor.leave(speaker, leaving=leaving)
        self._flush()

    def forget(self, speaker: str) -> None:
        """No more words of this speaker will come."""
        self.translated.end_utterance(speaker)
        self._floor.forget(speaker)
        self._flush()

    def flush(self) -> None:
        """Send all messages that are due."""
        self.translated.flush()
        self._flush()
        self._change_languages()

    def _flush(self) -> None:
        now = self._now()
        # The floor keeps its words until the lane can take them, since it merges those of one speaker.
        while (ready := self._lane.flush(now)) and (message := self._floor.next_message(now)) is not None:
            if message.waited_s is not None:
                metrics.floor_wait_seconds.observe(message.waited_s)
            speaker = message.caption.speaker
            self._lane.add(message.caption, partial(self._targets.recipients, speaker))
        self._count()
        # A full outbox does not tell when it has room; coming back into the room does (`Call`).
        retry_at = now + RETRY_S if self._sink.in_room else None
        self._alarm.set(self._floor.next_deadline() if ready else retry_at)

    def _change_languages(self) -> None:
        """Put the readers' choices of languages into effect, so that each reader gets each word once."""
        for choice in self._targets.choices() if self._sink.in_room else ():
            if self.translated.may_change(choice) and (not self.translated.needs_originals(choice) or self._send_all()):
                self.translated.change(choice)
        waits = self._sink.in_room and self._targets.choices()
        self._choices_alarm.set(self._now() + RETRY_S if waits else None)

    def _send_all(self) -> bool:
        """Send all original captions without waiting for the floor. Returns whether none waits any more."""
        now = self._now()
        if self._floor.waiting_bytes and now >= self._may_hurry_at:
            self._may_hurry_at = now + HURRY_S
            self._floor.hurry()
            self._flush()
        return self._lane.flush(now) and not self._floor.waiting_bytes

    def close(self) -> None:
        """Send nothing more, and count what still waits as dropped."""
        self._choices_alarm.cancel()
        self.translated.close()
        self._alarm.cancel()
        self._floor.clear()
        self._count()
        metrics.words_dropped.inc(self._lane.clear())

    def _count(self) -> None:
        metrics.captions_waiting_bytes.inc(self._floor.waiting_bytes - self._counted_bytes)
        metrics.words_dropped.inc(self._floor.dropped_words - self._counted_dropped)
        self._counted_bytes, self._counted_dropped = self._floor.waiting_bytes, self._floor.dropped_words

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

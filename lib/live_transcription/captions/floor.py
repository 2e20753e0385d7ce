# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Order between the speakers of one room, as Talk's web client needs it.

Talk shows captions in blocks: a new one starts when the speaker changes, only the last one is extended, and a partial is
replaced by its speaker's next transcript as long as its block is the last. So one speaker at a time holds the floor with an
open utterance, and what is shown of it is closed by a final (a cut) before another speaker is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from live_transcription.captions.words import remainder
from live_transcription.types import Caption


@dataclass(slots=True)
class _Utterance:
    """A speaker's open utterance.

    `cut`: the start of it that cuts have closed. `shown`: what the room sees of the rest; `shown_of`: the whole text behind
    that. `waiting`: the latest whole text that the room has yet to see.
    """

    cut: str = ""
    shown: Caption | None = None
    shown_of: str = ""
    waiting: Caption | None = None
    waiting_since: float = 0.0


class CaptionFloor:
    """Decides what the room is shown, and when. Takes each speaker's throttled captions, gives captions in the order to send.

    A final is passed at once, whoever holds the floor. A partial of another speaker waits (the latest wins) until the holder's
    utterance ends, has not changed for `unchanged_s`, or the holder has had the floor for `hold_s`. Finals are never
    dropped, repeated, or reordered within a speaker: what a cut has closed is taken off the speaker's later texts of that
    utterance, aligned by words, since engines rewrite what they said before.
    Pure: `now` in seconds of any monotonic clock; call `tick` at `next_deadline()`.
    """

    def __init__(self, *, unchanged_s: float = 1.0, hold_s: float = 2.5) -> None:
        self._unchanged_s = unchanged_s
        self._hold_s = hold_s
        self._utterances: dict[str, _Utterance] = {}
        self._holder: str | None = None
        self._held_since = 0.0
        self._changed_at = 0.0
        #: Utterances closed early because another speaker had to be shown.
        self.cuts = 0

    def offer(self, caption: Caption, now: float) -> list[Caption]:
        """What to send now. A final with empty text takes the speaker's open utterance back and is not sent itself."""
        utterance = self._utterances.setdefault(caption.speaker, _Utterance())
        text = remainder(utterance.cut, caption.text) if utterance.cut else caption.text
        if caption.final:
            del self._utterances[caption.speaker]
            results: list[Caption] = []
            if text:
                results = self._cut_holder(but=caption.speaker)
                results.append(replace(caption, text=text))
            if self._holder == caption.speaker:
                self._holder = None
            return results + self.tick(now)
        if not text:
            utterance.waiting = None
            return []
        if self._holder is None or self._holder == caption.speaker:
            return self._show(caption, now)
        if utterance.waiting is None:
            utterance.waiting_since = now
        utterance.waiting = caption
        return self.tick(now)

    def tick(self, now: float) -> list[Caption]:
        """Give the floor to whoever has waited longest, if it is free or has been held long enough."""
        speaker = self._next_speaker()
        if speaker is None or (self._holder is not None and now < self._free_at()):
            return []
        caption = self._utterances[speaker].waiting
        assert caption is not None
        return [*self._cut_holder(), *self._show(caption, now)]

    def next_deadline(self) -> float | None:
        """When `tick` is to be called next; None while nobody waits."""
        return self._free_at() if self._holder is not None and self._next_speaker() is not None else None

    def leave(self, speaker: str, now: float) -> list[Caption]:
        """The speaker is gone: close what is shown of them, forget what waits."""
        results: list[Caption] = []
        if self._holder == speaker:
            results = self._cut_holder()
        self._utterances.pop(speaker, None)
        return results + self.tick(now)

    def _show(self, caption: Caption, now: float) -> list[Caption]:
        if self._holder != caption.speaker:
            self._holder = caption.speaker
            self._held_since = now
            self._changed_at = now
        utterance = self._utterances[caption.speaker]
        utterance.waiting = None
        utterance.shown_of = caption.text
        partial = replace(caption, text=remainder(utterance.cut, caption.text)) if utterance.cut else caption
        if utterance.shown == partial:
            return []
        utterance.shown = partial
        self._changed_at = now
        return [partial]

    def _cut_holder(self, but: str | None = None) -> list[Caption]:
        """Close what the holder shows, unless the holder is `but`; the rest of the utterance comes later."""
        if self._holder is None or self._holder == but:
            return []
        utterance = self._utterances[self._holder]
        shown, utterance.shown = utterance.shown, None
        utterance.cut = utterance.shown_of
        self._holder = None
        if shown is None:
            return []
        self.cuts += 1
        return [replace(shown, final=True)]

    def _next_speaker(self) -> str | None:
        waiting = [(utterance.waiting_since, speaker) for speaker, utterance in self._utterances.items() if utterance.waiting]
        return min(waiting)[1] if waiting else None

    def _free_at(self) -> float:
        return min(self._changed_at + self._unchanged_s, self._held_since + self._hold_s)

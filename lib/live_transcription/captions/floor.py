# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Which speaker's words are shown next: one block at a time, at a pace that can be read.

Talk begins a new block whenever the speaker changes, and scrolls one line every two seconds. So one speaker at a time has
the floor; the words of the others wait and follow in order, those of one speaker in one message.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from live_transcription.captions.pace import Pace
from live_transcription.captions.words import ends_sentence, join
from live_transcription.types import Caption

#: Seconds between two messages of a speaker.
INTERVAL_S = 0.3
#: For how many seconds others wait for the holder of the floor, at most; the second value where the reader is behind.
HOLD_S, LONGEST_HOLD_S = 2.5, 5.0
#: A speaker who has said nothing new for so many seconds has paused.
PAUSE_S = 1.0
#: Words may wait for so many seconds, and in so many bytes of UTF-8 per call; beyond that the oldest are dropped.
LONGEST_WAIT_S = 120.0
MOST_BYTES = 64 * 1024
#: Longest message in characters, unless a single commit is longer.
MESSAGE_CHARS = 2000
#: The pace of Talk's caption box on a narrow screen: characters in a line, and seconds from one line to the next.
LINE_CHARS = 40
LINE_S = 2.0
#: Lines that may wait to be scrolled before the floor is held longer.
BACKLOG_LINES = 2.0


@dataclass(frozen=True, slots=True)
class Message:
    """`waited_s`: how long its oldest words waited for another speaker; None where nobody else had the floor."""

    caption: Caption
    waited_s: float | None


@dataclass(slots=True)
class _Speaker:
    """`waiting`: commits with the times at which they came. `leaving`: the last words go out at once; `gone`: no more come."""

    waiting: deque[tuple[float, Caption]] = field(default_factory=deque)
    last_sent_at: float = float("-inf")
    ended: bool = False
    leaving: bool = False
    gone: bool = False


class CaptionFloor:
    """Takes each speaker's committed words and gives messages in the order to send. Nothing is repeated or reordered.

    The floor goes to the speaker who has waited longest: when its holder has ended a sentence or paused, or `HOLD_S` after
    somebody else had words. While the reader's box is behind, it is held until the box has caught up, or `LONGEST_HOLD_S`.
    Pure: `now` is seconds of any monotonic clock. The caller takes `next_message(now)` until it is None, again after
    each change, and at `next_deadline()`.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace or Pace()
        self._speakers: dict[str, _Speaker] = {}
        # Those of them whose words wait; the values mean nothing.
        self._waiting: dict[str, None] = {}
        self._holder: str | None = None
        self._held_since = float("-inf")
        self._sentence_ended = False
        # Where the last line of the open block ends, and when the reader's box has scrolled to it.
        self._column = 0
        self._scrolled_at = float("-inf")
        #: Bytes that wait, and words dropped so far.
        self.waiting_bytes = 0
        self.dropped_words = 0

    def offer(self, caption: Caption, now: float) -> None:
        """Words were committed."""
        speaker = self._speakers.setdefault(caption.speaker, _Speaker())
        speaker.waiting.append((now, caption))
        speaker.ended = False
        self._waiting[caption.speaker] = None
        self.waiting_bytes += len(caption.text.encode())
        self._drop_oldest(now)

    def end_utterance(self, speaker: str) -> None:
        """The speaker has paused."""
        if speaker in self._speakers:
            self._speakers[speaker].ended = True

    def leave(self, speaker: str, *, leaving: bool = True) -> None:
        """The speaker leaves the call: Talk soon discards their captions. `leaving=False`: they are back."""
        if leaving:
            self._speakers.setdefault(speaker, _Speaker()).leaving = True
        elif (back := self._speakers.get(speaker)) is not None:
            back.leaving = back.gone = False

    def forget(self, speaker: str) -> None:
        """The speaker's last words have been offered."""
        left = self._speakers.get(speaker)
        if left is not None:
            left.ended = left.leaving = left.gone = True
            self._remove_if_gone(speaker)

    def next_message(self, now: float) -> Message | None:
        """What may be sent now."""
        self._drop_oldest(now)
        due = [entry for entry in self._due() if entry[0] <= now]
        if not due:
            return None
        name = due[0][1]
        speaker = self._speakers[name]
        since, caption = speaker.waiting[0]
        text = ""
        while speaker.waiting and speaker.waiting[0][1].language == caption.language:
            longer = join(text, speaker.waiting[0][1].text)
            if text and len(longer) > MESSAGE_CHARS:
                break
            text = longer
            self.waiting_bytes -= len(speaker.waiting.popleft()[1].text.encode())
        taken = self._holder not in (None, name)
        speaker.last_sent_at = now
        self._show(name, text, now)
        self._remove_if_gone(name)
        return Message(replace(caption, text=text), now - since if taken else None)

    def next_deadline(self) -> float | None:
        """When `next_message` is to be called next; None while nothing waits."""
        return min((at for at, _ in self._due()), default=None)

    def clear(self) -> None:
        """Drop what waits, and count it."""
        while self.waiting_bytes:
            self._drop(min(self._waiting, key=self._waiting_since))

    def _due(self) -> list[tuple[float, str]]:
        """Who may speak from when on; of those who may at the same time the first goes first."""
        waiting = sorted(self._waiting, key=self._waiting_since)
        due = [(float("-inf"), name) for name in waiting if self._speakers[name].leaving]
        others = [name for name in waiting if name != self._holder]
        if others:
            due.append((max(self._may_speak_at(others[0]), self._free_at(self._waiting_since(others[0]))), others[0]))
        if self._holder in waiting:
            due.append((self._may_speak_at(self._holder), self._holder))
        return due

    def _may_speak_at(self, name: str) -> float:
        return self._speakers[name].last_sent_at + INTERVAL_S * self._pace.stretch

    def _free_at(self, wanted_since: float) -> float:
        """When the floor may go to somebody who wants it."""
        holder = self._speakers.get(self._holder or "")
        if holder is None:
            return float("-inf")
        asked_at = max(self._held_since, wanted_since)
        # The line that is being read, and those that may wait.
        caught_up_at = self._scrolled_at - (1 + BACKLOG_LINES) * LINE_S
        earliest = min(asked_at + LONGEST_HOLD_S, caught_up_at)
        latest = min(asked_at + LONGEST_HOLD_S, max(asked_at + HOLD_S, caught_up_at))
        if self._sentence_ended or (holder.ended and not holder.waiting):
            return earliest
        return latest if holder.waiting else min(latest, max(earliest, holder.last_sent_at + PAUSE_S))

    def _waiting_since(self, name: str) -> float:
        return self._speakers[name].waiting[0][0]

    def _show(self, name: str, text: str, now: float) -> None:
        """Keep account of what the reader sees."""
        if name != self._holder:
            self._holder, self._held_since, self._column = name, now, 0
            lines = 1
        else:
            lines = 0
        self._column += 1 + len(text)
        lines += self._column // LINE_CHARS
        self._column %= LINE_CHARS
        if lines:
            self._scrolled_at = max(self._scrolled_at, now) + lines * LINE_S
        self._sentence_ended = ends_sentence(text)

    def _drop_oldest(self, now: float) -> None:
        while self.waiting_bytes:
            oldest = min(self._waiting, key=self._waiting_since)
            if self.waiting_bytes <= MOST_BYTES and self._waiting_since(oldest) >= now - LONGEST_WAIT_S:
                return
            self._drop(oldest)

    def _drop(self, name: str) -> None:
        text = self._speakers[name].waiting.popleft()[1].text
        self.waiting_bytes -= len(text.encode())
        self.dropped_words += len(text.split())
        self._remove_if_gone(name)

    def _remove_if_gone(self, name: str) -> None:
        """Forget what is of no more use about this speaker, whose words may have been sent or dropped."""
        speaker = self._speakers[name]
        if not speaker.waiting:
            self._waiting.pop(name, None)
            if speaker.gone:
                del self._speakers[name]

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Decides which speaker's words are shown next, so that captions can be read.

Talk begins a new block whenever the speaker changes, and scrolls one line every two seconds. Therefore one speaker at a time
has the floor. The words of the others wait, and follow in one message per speaker.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from live_transcription.capacity.load import CaptionInterval
from live_transcription.captions.words import ends_sentence, join
from live_transcription.types import Caption

#: Seconds between two messages of a speaker.
INTERVAL_S = 0.3
#: Maximum seconds that others wait for the floor. The second value applies while the caption box is behind.
HOLD_S, LONGEST_HOLD_S = 2.5, 5.0
#: Seconds without new words after which a speaker counts as paused.
PAUSE_S = 1.0
#: Limits of waiting words per call, in seconds and in bytes of UTF-8. Beyond them the oldest words are dropped.
LONGEST_WAIT_S = 120.0
MOST_BYTES = 64 * 1024
#: Longest message in characters, unless a single commit is longer.
MESSAGE_CHARS = 2000
#: Talk's caption box on a narrow screen: characters per line, and seconds from one line to the next.
LINE_CHARS = 40
LINE_S = 2.0
#: Lines that may wait to be scrolled before the caption box is behind.
BACKLOG_LINES = 2.0


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send. `waited_s` is how long its oldest words waited in seconds; None if no other speaker had the floor."""

    caption: Caption
    waited_s: float | None


@dataclass(slots=True)
class _Speaker:
    """A speaker's waiting words, with their arrival times.

    `ended`: the speaker has paused. `leaving`: no words wait for the floor; `hurried`: those that wait now do not.
    `gone`: no more words will be offered.
    """

    waiting: deque[tuple[float, Caption]] = field(default_factory=deque)
    last_sent_at: float = float("-inf")
    ended: bool = False
    leaving: bool = False
    hurried: bool = False
    gone: bool = False


class CaptionFloor:
    """Takes the committed words of each speaker and returns the messages to send, in order.

    The floor goes to the speaker who has waited longest. It changes when its holder has ended a sentence or paused, and at
    the latest `HOLD_S` after another speaker has words. While the caption box is behind, the floor changes when the box has
    caught up, or after `LONGEST_HOLD_S`.

    `now` is in seconds of any monotonic clock. After each change and at `next_deadline()`, the caller must call
    `next_message(now)` until it returns None.
    """

    def __init__(self, interval: CaptionInterval | None = None) -> None:
        self._interval = interval or CaptionInterval()
        self._speakers: dict[str, _Speaker] = {}
        # The speakers with waiting words. The values are not used.
        self._waiting: dict[str, None] = {}
        self._holder: str | None = None
        self._held_since = float("-inf")
        self._sentence_ended = False
        # Estimates: the length of the last line, and the time at which the caption box has scrolled to it.
        self._column = 0
        self._scrolled_at = float("-inf")
        #: Bytes of UTF-8 that wait.
        self.waiting_bytes = 0
        #: Number of words dropped so far.
        self.dropped_words = 0

    def offer(self, caption: Caption, now: float) -> None:
        """Add committed words."""
        speaker = self._speakers.setdefault(caption.speaker, _Speaker())
        speaker.waiting.append((now, caption))
        speaker.ended = False
        self._waiting[caption.speaker] = None
        self.waiting_bytes += len(caption.text.encode())
        self._drop_oldest(now)

    def end_utterance(self, speaker: str) -> None:
        """Note that the speaker has paused."""
        if speaker in self._speakers:
            self._speakers[speaker].ended = True

    def leave(self, speaker: str, *, leaving: bool = True) -> None:
        """Send the speaker's words without waiting, since Talk will soon discard their captions.

        `leaving=False` ends this: the speaker is back.
        """
        if leaving:
            self._speakers.setdefault(speaker, _Speaker()).leaving = True
        elif (back := self._speakers.get(speaker)) is not None:
            back.leaving = back.gone = False

    def hurry(self) -> None:
        """Send all waiting words without waiting any longer, since their readers are about to change."""
        for name in self._waiting:
            self._speakers[name].hurried = True

    def forget(self, speaker: str) -> None:
        """Note that no more words of this speaker will be offered."""
        left = self._speakers.get(speaker)
        if left is not None:
            left.ended = left.leaving = left.gone = True
            self._remove_if_gone(speaker)

    def next_message(self, now: float) -> Message | None:
        """Return the next message that is due, or None."""
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
        """The time at which to call `next_message`; None while no words wait."""
        return min((at for at, _ in self._due()), default=None)

    def clear(self) -> None:
        """Drop and count all waiting words."""
        while self.waiting_bytes:
            self._drop(min(self._waiting, key=self._waiting_since))

    def _due(self) -> list[tuple[float, str]]:
        """The times at which speakers with waiting words may send, in order of priority."""
        waiting = sorted(self._waiting, key=self._waiting_since)
        due = [(float("-inf"), name) for name in waiting if self._speakers[name].leaving or self._speakers[name].hurried]
        others = [name for name in waiting if name != self._holder]
        if others:
            due.append((max(self._may_speak_at(others[0]), self._free_at(self._waiting_since(others[0]))), others[0]))
        if self._holder in waiting:
            due.append((self._may_speak_at(self._holder), self._holder))
        return due

    def _may_speak_at(self, name: str) -> float:
        return self._speakers[name].last_sent_at + INTERVAL_S * self._interval.stretch

    def _free_at(self, wanted_since: float) -> float:
        """The time at which the floor may go to a speaker who has waited since `wanted_since`."""
        holder = self._speakers.get(self._holder or "")
        if holder is None:
            return float("-inf")
        asked_at = max(self._held_since, wanted_since)
        # One line is being read, and `BACKLOG_LINES` may wait.
        caught_up_at = self._scrolled_at - (1 + BACKLOG_LINES) * LINE_S
        earliest = min(asked_at + LONGEST_HOLD_S, caught_up_at)
        latest = min(asked_at + LONGEST_HOLD_S, max(asked_at + HOLD_S, caught_up_at))
        if self._sentence_ended or (holder.ended and not holder.waiting):
            return earliest
        return latest if holder.waiting else min(latest, max(earliest, holder.last_sent_at + PAUSE_S))

    def _waiting_since(self, name: str) -> float:
        return self._speakers[name].waiting[0][0]

    def _show(self, name: str, text: str, now: float) -> None:
        """Update the estimate of the caption box."""
        lines = int(name != self._holder)
        if lines:
            self._holder, self._held_since, self._column = name, now, 0
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
        """Remove the speaker from the waiting ones if all words are sent or dropped, and forget a speaker who has left."""
        speaker = self._speakers[name]
        if not speaker.waiting:
            speaker.hurried = False
            self._waiting.pop(name, None)
            if speaker.gone:
                del self._speakers[name]

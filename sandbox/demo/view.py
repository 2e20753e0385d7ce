# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The view of the calls, for the terminal and the page. No I/O; snapshots are plain JSON values."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from live_transcription.captions.words import ends_sentence
from sandbox.caller import ReceivedCaption
from sandbox.talk_renderer import Style, TalkRenderer

_TRANSCRIPT = 200
#: A line of the transcript ends at the end of a sentence from so many characters on, or after so many seconds without words.
_LINE_CHARS, _LINE_QUIET_S = 20, 2.5


@dataclass(slots=True)
class Participant:
    id: str
    name: str
    role: str
    speaking: bool = False


@dataclass(slots=True)
class RoomView:
    """One call. `renderers`: its captions as Talk shows them. `line`: words of the current utterance.

    `transcript`: the last of `spoken` lines, one for each utterance.
    """

    token: str
    name: str
    language: str
    participants: dict[str, Participant] = field(default_factory=dict)
    status: str = "waiting"
    renderers: dict[Style, TalkRenderer] = field(default_factory=lambda: {style: TalkRenderer(style) for style in Style})
    line: str = ""
    line_at: float = 0.0
    speaker: str = ""
    transcript: deque[str] = field(default_factory=lambda: deque(maxlen=_TRANSCRIPT))
    spoken: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    def caption(self, caption: ReceivedCaption) -> list[str]:
        """Take a message. Returns the lines of the transcript that it completes."""
        for renderer in self.renderers.values():
            renderer.receive(caption.speaker, caption.text, caption.language, caption.at, final=caption.final)
        lines = self.end_line(caption.at) if caption.speaker == self.speaker else self.end_line()
        self.speaker, self.line_at = caption.speaker, caption.at
        self.line = f"{self.line} {caption.text}".strip()
        if len(self.line) >= _LINE_CHARS and ends_sentence(self.line):
            lines += self.end_line()
        return lines

    def end_line(self, now: float = float("inf")) -> list[str]:
        """End the current utterance if nothing has come for a while; by default in any case."""
        if not self.line or now < self.line_at + _LINE_QUIET_S:
            return []
        line, self.line = self.line, ""
        self.transcript.append(line)
        self.spoken += 1
        return [line]

    def screen(self, style: Style, now: float) -> list[str]:
        """The visible lines of the caption box, each with its speaker's name where the speaker changes."""
        shown: list[str] = []
        before = ""
        for speaker, line in self.renderers[style].screen(now):
            name = self.participants[speaker].name if speaker in self.participants else ""
            shown.append(f"{name}: {line}" if name and speaker != before else line)
            before = speaker
        return shown

    def snapshot(self, now: float) -> dict[str, Any]:
        return {
            "token": self.token,
            "name": self.name,
            "language": self.language,
            "status": self.status,
            "participants": [
                {"id": one.id, "name": one.name, "role": one.role, "speaking": one.speaking}
                for one in self.participants.values()
            ],
            "screens": {style.value: self.screen(style, now) for style in Style},
            "transcript": list(self.transcript),
            "spoken": self.spoken,
            "figures": self.figures,
        }


class DemoView:
    """All calls, and a line about the current step. `changed()` wakes everyone who waits for news."""

    def __init__(self) -> None:
        self.rooms: list[RoomView] = []
        self.status = "starting"
        self.over = False
        self.version = 0
        self._news = asyncio.Event()

    def snapshot(self) -> dict[str, Any]:
        now = time.time()
        return {"status": self.status, "over": self.over, "rooms": [room.snapshot(now) for room in self.rooms]}

    def changed(self) -> None:
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()

    async def next(self, seen: int) -> int:
        """Waits for a version newer than `seen` and returns it."""
        while self.version <= seen:
            await self._news.wait()
        return self.version

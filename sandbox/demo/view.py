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


@dataclass(frozen=True, slots=True)
class Sound:
    """What somebody says: the name of the recording, and its position in seconds at Unix time `at`."""

    recording: str
    position_s: float
    at: float


@dataclass(slots=True)
class Participant:
    """`sound`: what is being played as their voice."""

    id: str
    name: str
    role: str
    speaking: bool = False
    sound: Sound | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Words of one speaker. `at`: when the last of them arrived."""

    speaker: str
    text: str
    at: float = 0.0


@dataclass(slots=True)
class RoomView:
    """One call. `renderers`: its captions as Talk shows them. `open`: by speaker, the line that still grows.

    `transcript`: the last of `spoken` lines, one for each utterance, as name and text.
    """

    token: str
    name: str
    language: str
    participants: dict[str, Participant] = field(default_factory=dict)
    status: str = "waiting"
    renderers: dict[Style, TalkRenderer] = field(default_factory=lambda: {style: TalkRenderer(style) for style in Style})
    open: dict[str, Line] = field(default_factory=dict)
    transcript: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=_TRANSCRIPT))
    spoken: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    def caption(self, caption: ReceivedCaption) -> list[Line]:
        """Take a message. Returns the lines of the transcript that it completes."""
        for renderer in self.renderers.values():
            renderer.receive(caption.speaker, caption.text, caption.language, caption.at, final=caption.final)
        done = self.end_lines(caption.at)
        before = self.open[caption.speaker].text if caption.speaker in self.open else ""
        line = Line(caption.speaker, f"{before} {caption.text}".strip(), caption.at)
        self.open[caption.speaker] = line
        if len(line.text) >= _LINE_CHARS and ends_sentence(line.text):
            done.append(self._end(line))
        return done

    def end_lines(self, now: float = float("inf")) -> list[Line]:
        """End the lines to which nothing has been added for a while; by default all of them."""
        return [self._end(line) for line in list(self.open.values()) if now >= line.at + _LINE_QUIET_S]

    def _end(self, line: Line) -> Line:
        del self.open[line.speaker]
        self.transcript.append((self.name_of(line.speaker), line.text))
        self.spoken += 1
        return line

    def name_of(self, speaker: str) -> str:
        return self.participants[speaker].name if speaker in self.participants else ""

    @property
    def live(self) -> str:
        """The line that grew last, with its speaker's name; "" if none is open."""
        line = max(self.open.values(), key=lambda line: line.at, default=None)
        return "" if line is None else f"{self.name_of(line.speaker)}: {line.text}"

    def screen(self, style: Style, now: float) -> list[tuple[str, list[str]]]:
        """The visible lines of the caption box, oldest first: a speaker's name, and the lines below it."""
        shown: list[tuple[str, list[str]]] = []
        before = None
        for speaker, line in self.renderers[style].screen(now):
            if speaker != before:
                shown.append((self.name_of(speaker), []))
            shown[-1][1].append(line)
            before = speaker
        return shown

    def snapshot(self, now: float) -> dict[str, Any]:
        return {
            "token": self.token,
            "name": self.name,
            "language": self.language,
            "status": self.status,
            "participants": [
                {
                    "id": one.id,
                    "name": one.name,
                    "role": one.role,
                    "speaking": one.speaking,
                    "sound": one.sound
                    and {"recording": one.sound.recording, "position_s": round(one.sound.position_s + now - one.sound.at, 3)},
                }
                for one in self.participants.values()
            ],
            "screens": {
                style.value: [{"name": name, "lines": lines} for name, lines in self.screen(style, now)] for style in Style
            },
            "transcript": [{"name": name, "text": text} for name, text in self.transcript],
            "spoken": self.spoken,
            "figures": self.figures,
        }


class DemoView:
    """All calls, and a line about the current step. `changed()` wakes all readers."""

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

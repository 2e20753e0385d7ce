# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What is to be seen of the calls, for the terminal and the page alike. No I/O; snapshots are plain JSON values."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

#: Characters of a caption block that are kept; the page shows its last four lines.
_BLOCK = 600
_TRANSCRIPT = 200


@dataclass(slots=True)
class Participant:
    id: str
    name: str
    role: str
    speaking: bool = False


@dataclass(slots=True)
class RoomView:
    """One call. `finals` and `partial` make the caption block as Talk shows it; `transcript` has the last of `spoken` lines."""

    token: str
    name: str
    language: str
    participants: dict[str, Participant] = field(default_factory=dict)
    status: str = "waiting"
    finals: str = ""
    partial: str = ""
    speaker: str = ""
    transcript: deque[str] = field(default_factory=lambda: deque(maxlen=_TRANSCRIPT))
    spoken: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    def caption(self, speaker: str, text: str, *, final: bool) -> None:
        """A partial replaces its speaker's last one, a final closes it; another speaker begins a new block."""
        if speaker != self.speaker:
            self.speaker, self.finals, self.partial = speaker, "", ""
        if final:
            self.finals = f"{self.finals} {text}".strip()[-_BLOCK:]
            self.partial = ""
            self.transcript.append(text)
            self.spoken += 1
        else:
            self.partial = text

    def snapshot(self) -> dict[str, Any]:
        return {
            "token": self.token,
            "name": self.name,
            "language": self.language,
            "status": self.status,
            "participants": [
                {"id": one.id, "name": one.name, "role": one.role, "speaking": one.speaking}
                for one in self.participants.values()
            ],
            "speaker": self.participants[self.speaker].name if self.speaker in self.participants else "",
            "finals": self.finals,
            "partial": self.partial,
            "transcript": list(self.transcript),
            "spoken": self.spoken,
            "figures": self.figures,
        }


class DemoView:
    """All calls and a line that says what is going on. `changed()` wakes whoever waits for news."""

    def __init__(self) -> None:
        self.rooms: list[RoomView] = []
        self.status = "starting"
        self.over = False
        self.version = 0
        self._news = asyncio.Event()

    def snapshot(self) -> dict[str, Any]:
        return {"status": self.status, "over": self.over, "rooms": [room.snapshot() for room in self.rooms]}

    def changed(self) -> None:
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()

    async def next(self, seen: int) -> int:
        """Waits for a version newer than `seen` and returns it."""
        while self.version <= seen:
            await self._news.wait()
        return self.version

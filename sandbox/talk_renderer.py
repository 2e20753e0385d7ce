# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Models of Talk's web client: the two ways in which it may show transcript messages. Pure; times are arguments.

The released client (spreed, `LiveTranscriptionRenderer.vue` and `TranscriptBlock.vue`) appends every message and ignores
`final`. A proposed one (pull request 15783) replaces a speaker's last message as long as it was not final. Both have in common:

- A block holds consecutive messages of one speaker and one writing direction; only the last block is extended.
- Two messages are joined by the separator of their language, or by a space if the languages differ or are unknown.
- The box has four lines. The first line is shown at once; after each new line the next one waits two seconds.
- Messages of a speaker who is not in the call are discarded.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

#: Lines of the caption box, and seconds between two lines that scroll in.
LINES = 4
LINE_S = 2.0
#: Characters per line on a narrow and on a wide screen.
COLUMNS = (40, 80)


class Style(Enum):
    """How the client shows a message that follows one with `final` false."""

    APPEND = "append"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Script:
    """How a language is written, according to `/languages`."""

    separator: str = " "
    rtl: bool = False


@dataclass(slots=True)
class _Chunk:
    text: str
    language: str
    final: bool
    at: float


@dataclass(slots=True)
class Block:
    """`scrolled_at`: when each of its lines scrolls in, as far as known."""

    speaker: str
    rtl: bool
    chunks: list[_Chunk] = field(default_factory=list)
    scrolled_at: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ShownWord:
    """A word on the screen. `at`: when its line was visible and its message had come."""

    speaker: str
    text: str
    at: float


class TalkRenderer:
    """Takes messages in the order of arrival. `present`: who is in the call; None for everybody.

    `scripts`: the languages that the client knows, by their id.
    """

    def __init__(
        self,
        style: Style = Style.APPEND,
        *,
        columns: int = COLUMNS[1],
        scripts: Mapping[str, Script] | None = None,
        present: set[str] | None = None,
    ) -> None:
        self.blocks: list[Block] = []
        self.discarded = 0
        self._style = style
        self._columns = columns
        self._scripts = scripts or {}
        self._present = present
        self._next_line_at = float("-inf")

    def receive(self, speaker: str, text: str, language: str, at: float, *, final: bool = True) -> None:
        """A transcript message arrives. Times never go back."""
        if self._present is not None and speaker not in self._present:
            self.discarded += 1
            return
        rtl = self._script(language).rtl
        if not self.blocks or self.blocks[-1].speaker != speaker or self.blocks[-1].rtl != rtl:
            self.blocks.append(Block(speaker, rtl))
        block = self.blocks[-1]
        if self._style is Style.REPLACE and block.chunks and not block.chunks[-1].final:
            block.chunks.pop()
        block.chunks.append(_Chunk(text, language, final, at))
        for _ in range(len(self._lines(block)) - len(block.scrolled_at)):
            scrolled_at = max(at, self._next_line_at)
            block.scrolled_at.append(scrolled_at)
            self._next_line_at = scrolled_at + LINE_S

    def leave(self, speaker: str) -> None:
        """The participant has left, and the client discards their messages."""
        if self._present is not None:
            self._present.discard(speaker)

    def text(self, speaker: str | None = None) -> str:
        """Everything that was shown of a speaker, or of all speakers: the blocks in order."""
        blocks = [block for block in self.blocks if speaker in (None, block.speaker)]
        return " ".join("".join(text for text, _ in self._parts(block)) for block in blocks)

    def words(self, speaker: str | None = None) -> list[ShownWord]:
        """All words in order, each with the time from which it could be read."""
        found: list[ShownWord] = []
        for block in self.blocks:
            if speaker not in (None, block.speaker):
                continue
            arrivals = [at for text, at in self._parts(block) for _ in text]
            position = 0
            for line, scrolled_at in zip(self._lines(block), block.scrolled_at, strict=False):
                for word in line.split():
                    position = "".join(text for text, _ in self._parts(block)).index(word, position)
                    found.append(ShownWord(block.speaker, word, max(scrolled_at, arrivals[position])))
                    position += len(word)
        return found

    def screen(self, now: float) -> list[tuple[str, str]]:
        """The visible lines, oldest first, each with its speaker."""
        visible: list[tuple[str, str]] = []
        for block in self.blocks[-LINES:]:
            for number, (line, scrolled_at) in enumerate(zip(self._lines(block, now), block.scrolled_at, strict=False)):
                if scrolled_at <= now:
                    # The client's style sheet capitalises the first letter of a block.
                    visible.append((block.speaker, line[:1].upper() + line[1:] if number == 0 else line))
        return visible[-LINES:]

    def backlog(self, now: float) -> int:
        """Number of lines that wait to scroll in."""
        return sum(scrolled_at > now for block in self.blocks for scrolled_at in block.scrolled_at)

    def _script(self, language: str) -> Script:
        return self._scripts.get(language, Script())

    def _parts(self, block: Block, now: float = float("inf")) -> list[tuple[str, float]]:
        """The messages of a block, each with the separator before it and the time at which it came."""
        parts: list[tuple[str, float]] = []
        before: _Chunk | None = None
        for chunk in block.chunks:
            if chunk.at > now:
                break
            separator = ""
            if before is not None:
                separator = self._script(chunk.language).separator if before.language == chunk.language else " "
            parts.append((separator + chunk.text, chunk.at))
            before = chunk
        return parts

    def _lines(self, block: Block, now: float = float("inf")) -> list[str]:
        text = "".join(text for text, _ in self._parts(block, now))
        return textwrap.wrap(text, self._columns, break_on_hyphens=False)

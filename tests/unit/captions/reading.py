# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The floor's messages as a reader sees them, under both renderers of Talk."""

from __future__ import annotations

from live_transcription.captions.floor import CaptionFloor, Message
from live_transcription.types import Caption
from sandbox.talk_renderer import COLUMNS, Style, TalkRenderer


class Reading:
    """A floor and a clock. `messages`: all of them with their times; every renderer gets the same."""

    def __init__(self, floor: CaptionFloor | None = None) -> None:
        self.floor = floor or CaptionFloor()
        self.now = 0.0
        self.messages: list[tuple[float, Message]] = []
        self.renderers = [TalkRenderer(style, columns=columns) for style in Style for columns in COLUMNS]

    def say(self, speaker: str, text: str, after_s: float = 0.0, language: str = "en") -> None:
        self.wait(after_s)
        self.floor.offer(Caption(speaker, text, language), self.now)
        self.take()

    def pause(self, speaker: str) -> None:
        self.floor.end_utterance(speaker)
        self.take()

    def leave(self, speaker: str) -> None:
        self.floor.leave(speaker)
        self.take()

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.floor.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            assert self.take(), "a deadline that leads to nothing would spin"
        self.now = until

    def finish(self) -> None:
        """Until nothing waits."""
        while (deadline := self.floor.next_deadline()) is not None:
            self.wait(max(0.0, deadline - self.now))

    def take(self) -> int:
        taken = 0
        while (message := self.floor.next_message(self.now)) is not None:
            taken += 1
            self.messages.append((self.now, message))
            for renderer in self.renderers:
                renderer.receive(message.caption.speaker, message.caption.text, message.caption.language, self.now)
        return taken

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """Speaker and text of each block; the same under every renderer."""
        shown = [
            [(block.speaker, " ".join(chunk.text for chunk in block.chunks)) for block in renderer.blocks]
            for renderer in self.renderers
        ]
        assert all(blocks == shown[0] for blocks in shown)
        return shown[0]

    def text(self, speaker: str) -> str:
        """All that was shown of a speaker; the same under every renderer, and all of it scrolls in."""
        texts = {renderer.text(speaker) for renderer in self.renderers}
        texts |= {" ".join(word.text for word in renderer.words(speaker)) for renderer in self.renderers}
        assert len(texts) == 1
        return texts.pop()

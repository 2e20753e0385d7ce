# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The captions that a participant received, and waiting for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReceivedCaption:
    """A transcript message. `at`: Unix time of its arrival. `speaker`: HPB session id of the speaker.

    `final`: as in the message; the app always sends True.
    """

    at: float
    speaker: str
    text: str
    language: str
    final: bool

    @classmethod
    def from_message(cls, at: float, message: dict[str, Any]) -> ReceivedCaption:
        """`message`: `data` of a signaling message of type `transcript`. Raises KeyError for a malformed one."""
        final = message.get("final", True)
        return cls(at, message["speakerSessionId"], message["message"], message["langId"], bool(final))


class CaptionLog:
    """All captions in their order of arrival."""

    def __init__(self, on_caption: Callable[[ReceivedCaption], None] | None = None) -> None:
        self.received: list[ReceivedCaption] = []
        self.on_caption = on_caption
        self._arrived = asyncio.Event()

    def add(self, caption: ReceivedCaption) -> None:
        self.received.append(caption)
        self._arrived.set()
        if self.on_caption is not None:
            self.on_caption(caption)

    def of(self, speaker: str | None = None, *, since: float = 0.0) -> list[ReceivedCaption]:
        return [caption for caption in self.received if speaker in (None, caption.speaker) and caption.at >= since]

    def text(self, speaker: str | None = None, *, since: float = 0.0) -> str:
        """The messages of a speaker, or of all, as one text."""
        return " ".join(caption.text for caption in self.of(speaker, since=since))

    async def wait(
        self,
        predicate: Callable[[ReceivedCaption], bool] | None = None,
        *,
        speaker: str | None = None,
        since: float = 0.0,
        timeout_s: float = 15.0,
    ) -> ReceivedCaption:
        """The first caption that fits, of those received already (not before `since`, Unix time) or later.

        Raises TimeoutError.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                for caption in self.of(speaker, since=since):
                    if predicate is None or predicate(caption):
                        return caption
                self._arrived.clear()
                await self._arrived.wait()

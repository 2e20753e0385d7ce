# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The right to a speech-to-text stream, as a speaker sees it; `capacity.PublisherClaims` is the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Slot(Protocol):
    """Asked for when speech begins. Kept through pauses, unless somebody else needs it."""

    #: Called when the slot is granted later, or taken.
    on_slot: Callable[[], None]

    @property
    def held(self) -> bool:
        """Whether a stream may be open now."""

    def speaking(self) -> bool:
        """Speech has begun. Whether there is a slot for it."""

    def silent(self) -> None:
        """Speech has ended."""

    def lost(self) -> None:
        """No audio arrives: the subscription failed."""


class FreeSlot:
    """A slot that nobody takes, for those who run a speaker by itself."""

    on_slot: Callable[[], None]
    held = True

    def speaking(self) -> bool:
        return True

    def silent(self) -> None:
        return

    def lost(self) -> None:
        return

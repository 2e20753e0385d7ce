# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A slot is the right to a speech-to-text stream. `capacity.watch.PublisherClaims` implements it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Slot(Protocol):
    """Requested when speech begins. Kept through pauses, unless another speaker needs it."""

    #: Called when the slot is granted later, or taken away.
    on_slot: Callable[[], None]

    @property
    def held(self) -> bool:
        """Whether a stream may be open now."""

    def speaking(self) -> bool:
        """Speech has begun: request a slot. Returns whether the speaker has one."""

    def silent(self) -> None:
        """Speech has ended: others may get the slot."""

    def lost(self) -> None:
        """The subscription failed: the slot is free for others at once."""


class FreeSlot:
    """A slot without competition, for a speaker outside a service."""

    on_slot: Callable[[], None]
    held = True

    def speaking(self) -> bool:
        return True

    def silent(self) -> None:
        return

    def lost(self) -> None:
        return

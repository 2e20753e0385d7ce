# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Limit the memory of all audio that waits to be sent or may have to be sent again. Pure."""

from __future__ import annotations

from typing import Protocol

#: Limit for all speakers together: enough for 500 speakers with 120 s of compressed audio each.
BUDGET_BYTES = 256 * 1024 * 1024
#: Minimum, whatever the memory limit: two minutes of about 25 speakers.
MIN_BYTES = 16 * 1024 * 1024


def budget_within(memory_limit: int | None) -> int:
    """Return how many bytes of a memory limit (None: unknown) audio may take: a quarter, within the bounds above."""
    return BUDGET_BYTES if memory_limit is None else max(MIN_BYTES, min(BUDGET_BYTES, memory_limit // 4))


class Holder(Protocol):
    """An object that stores audio, hashed by identity."""

    @property
    def memory_bytes(self) -> int:
        """The memory that its audio takes, in bytes."""

    def drop_oldest(self) -> bool:
        """Drop the oldest block. Returns False if only the newest is left."""


class AudioBudget:
    """When the total exceeds `limit_bytes`, the largest holder drops its oldest block. The limit may be set at any time."""

    def __init__(self, limit_bytes: int = BUDGET_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._holders: set[Holder] = set()
        #: The memory that the audio of all holders takes.
        self.used_bytes = 0

    def changed(self, holder: Holder, more_bytes: int) -> None:
        """Note that a holder stores `more_bytes` more (or less) than before."""
        self.used_bytes += more_bytes
        if more_bytes <= 0:
            return
        self._holders.add(holder)
        while self.used_bytes > self.limit_bytes:
            largest = max(self._holders, key=lambda other: other.memory_bytes)
            if not largest.drop_oldest():
                return

    def left(self, holder: Holder) -> None:
        """Remove a holder that stores nothing any more, according to its last `changed`."""
        self._holders.discard(holder)


#: The budget of this process, for all speakers and engines.
PROCESS_BUDGET = AudioBudget()

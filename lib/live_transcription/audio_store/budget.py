# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""One bound for the audio of all speakers that waits or may have to be sent again. Pure."""

from __future__ import annotations

from typing import Protocol

#: For all speakers together: 500 of them with 120 s of packed audio each, and not all of them wait at the same time.
BUDGET_BYTES = 256 * 1024 * 1024
#: The least, whatever the memory's limit: two minutes of some 25 speakers.
LEAST_BYTES = 16 * 1024 * 1024


def budget_within(memory_limit: int | None) -> int:
    """How many bytes audio may take of so much memory (None: no limit is known): a quarter, within the bounds above."""
    return BUDGET_BYTES if memory_limit is None else max(LEAST_BYTES, min(BUDGET_BYTES, memory_limit // 4))


class Holder(Protocol):
    """Who holds audio; hashed by identity."""

    @property
    def memory_bytes(self) -> int: ...

    def drop_oldest(self) -> bool:
        """Let go of the oldest block; False where only the newest is left."""


class AudioBudget:
    """Who holds most lets go of its oldest when all together hold more than `limit_bytes`, which may be set at any time."""

    def __init__(self, limit_bytes: int = BUDGET_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._holders: set[Holder] = set()
        self._used = 0

    @property
    def used_bytes(self) -> int:
        return self._used

    def changed(self, holder: Holder, more_bytes: int) -> None:
        """`holder` holds so many bytes more (or less) than it last said."""
        self._used += more_bytes
        if more_bytes <= 0:
            return
        self._holders.add(holder)
        while self._used > self.limit_bytes:
            greatest = max(self._holders, key=lambda other: other.memory_bytes)
            if not greatest.drop_oldest():
                return

    def left(self, holder: Holder) -> None:
        """`holder` holds nothing any more, and has said so."""
        self._holders.discard(holder)


#: For all speakers of this process, whatever settings their engines began with.
PROCESS_BUDGET = AudioBudget()

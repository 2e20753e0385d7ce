# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What a stream that outlives its connections (`stt.resilient_stream`) may hold, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from live_transcription.stt.resilient.retry import RetryPolicy

#: The ring may be set to this at most, in seconds.
RING_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class ResiliencePolicy:
    """`ring_s`: audio held while there is no connection, 120 s at most; make it longer than a cold start takes.

    `replay_speed`: multiple of real time at which missed audio is sent. `drain_s`: how long the last words may take after
    `end()`, reconnecting included.
    """

    ring_s: float = 30.0
    replay_speed: float = 4.0
    drain_s: float = 180.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if not 0 < self.ring_s <= RING_LIMIT_S:
            raise ValueError(f"ring_s must be within 0 and {RING_LIMIT_S:.0f}")
        if self.replay_speed <= 1:
            raise ValueError("replay_speed must be above 1, or lag never shrinks")

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Times for a peer's periodic messages. Pure."""

from __future__ import annotations

import math
import random

#: All peers send at multiples of this, in seconds of the event loop's clock, so that one wake-up serves many peers.
SLOT_S = 0.25


def next_slot(now: float, between_s: tuple[float, float]) -> float:
    """A random slot between these two delays in seconds, or up to `SLOT_S` later."""
    return math.ceil((now + random.uniform(*between_s)) / SLOT_S) * SLOT_S

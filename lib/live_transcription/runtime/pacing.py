# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""When a peer sends what it has to send now and then. Pure."""

from __future__ import annotations

import math
import random

#: All peers send at multiples of this, in seconds of the event loop's clock, so that one wake-up serves many of them.
SLOT_S = 0.25


def next_slot(now: float, between_s: tuple[float, float]) -> float:
    """A random slot that is so many seconds away, or up to `SLOT_S` more."""
    return math.ceil((now + random.uniform(*between_s)) / SLOT_S) * SLOT_S

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A bad network between the SFU and one subscriber: this module decides for each packet, from a seed; others send it."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Impairment:
    """`loss` and `reorder` are probabilities per packet; a reordered one comes `reorder_by_s` late, behind its successor.

    `burst`: how many packets in a row are lost at a time; `loss` stays the share of all.
    `delay_s` holds every packet, `jitter_s` each one by up to that much more. `seed` makes a run repeatable.
    """

    loss: float = 0.0
    burst: int = 1
    reorder: float = 0.0
    reorder_by_s: float = 0.03
    delay_s: float = 0.0
    jitter_s: float = 0.0
    seed: int = 1


class ImpairedPath:
    """The packets' fates, in order. `lost` and `reordered` count them."""

    def __init__(self, impairment: Impairment) -> None:
        self._impairment = impairment
        self._random = random.Random(impairment.seed)
        loss, burst = impairment.loss, impairment.burst
        #: Of a packet that follows on none lost, so that bursts of `burst` come to a share of `loss`.
        self._burst_begins = loss / (burst - loss * (burst - 1))
        self._still_lost = 0
        self.lost = 0
        self.reordered = 0

    def next_delay(self) -> float | None:
        """Seconds until the next packet is delivered, 0.0 for at once, None if it never is."""
        impairment = self._impairment
        if self._still_lost or (impairment.loss and self._random.random() < self._burst_begins):
            self._still_lost = (self._still_lost or impairment.burst) - 1
            self.lost += 1
            return None
        delay = impairment.delay_s
        if impairment.jitter_s:
            delay += self._random.random() * impairment.jitter_s
        if impairment.reorder and self._random.random() < impairment.reorder:
            self.reordered += 1
            delay += impairment.reorder_by_s
        return delay

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A bad network between the SFU and one subscriber: decided here, packet by packet, with a seed; sent elsewhere."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Impairment:
    """`loss` and `reorder` are probabilities per packet; a reordered one comes `reorder_by_s` late, behind its successor.

    `delay_s` holds every packet, `jitter_s` each one by up to that much more. `seed` makes a run repeatable.
    """

    loss: float = 0.0
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
        self.lost = 0
        self.reordered = 0

    def next_delay(self) -> float | None:
        """Seconds until the next packet is delivered, 0.0 for at once, None if it never is."""
        impairment = self._impairment
        if impairment.loss and self._random.random() < impairment.loss:
            self.lost += 1
            return None
        delay = impairment.delay_s
        if impairment.jitter_s:
            delay += self._random.random() * impairment.jitter_s
        if impairment.reorder and self._random.random() < impairment.reorder:
            self.reordered += 1
            delay += impairment.reorder_by_s
        return delay

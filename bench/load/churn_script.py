# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Weeks of events in calls, compressed into minutes. Pure: the seed decides the whole script."""

from __future__ import annotations

import random
from collections.abc import Iterator

#: What people and administrators do, and how often in proportion. None of it changes how many there are for long.
EVERYDAY = {
    "a speaker leaves, another comes": 8,
    "a muted one leaves, another comes": 5,
    "one mutes, another unmutes": 6,
    "one switches the track off, another on": 3,
    "a speaker reloads": 4,
    "the reader reloads": 3,
    "captions off and on": 3,
    "another language": 2,
    "Talk ends the transcription, the reader asks again": 2,
    "the call ends, another begins": 2,
    "the settings change": 1,
}
#: What breaks, each as often as the others.
FAULTS = (
    "speech-to-text is killed in mid-stream",
    "signaling is cut and resumed",
    "speech-to-text hangs",
    "the SFU is killed",
    "signaling is cut and forgotten",
    "speech-to-text refuses connections",
    "the SFU restarts",
    "the HPB restarts",
    "the app is disabled and enabled",
)
#: Seconds between two everyday actions, least and most, and between two faults.
ACTION_S = (0.4, 1.6)
FAULT_S = 25.0


def script(seconds: float, seed: int, *, faults: bool = True) -> Iterator[tuple[float, str]]:
    """When, in seconds from the beginning, and what; in order. Every fault has its turn before one comes again."""
    chance = random.Random(seed)
    names, weights = list(EVERYDAY), list(EVERYDAY.values())
    now, fault_at, next_faults = 0.0, FAULT_S, list[str]()
    while (now := now + chance.uniform(*ACTION_S)) < seconds:
        if faults and now >= fault_at:
            if not next_faults:
                next_faults = chance.sample(FAULTS, len(FAULTS))
            fault_at += FAULT_S
            yield now, next_faults.pop()
        else:
            yield now, chance.choices(names, weights)[0]

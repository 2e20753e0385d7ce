# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The cadence that all speakers have in common."""

from __future__ import annotations


class Pace:
    """`stretch`: factor (at least 1) for the interval between a speaker's messages, set from the load of the machine."""

    __slots__ = ("stretch",)

    def __init__(self) -> None:
        self.stretch = 1.0

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The interval between messages, which the load of the machine lengthens for all speakers."""

from __future__ import annotations


class Pace:
    """`stretch` is the factor by which the interval between a speaker's messages is lengthened. It is at least 1."""

    __slots__ = ("stretch",)

    def __init__(self) -> None:
        self.stretch = 1.0

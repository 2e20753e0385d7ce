# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What a reader gets of one speaker while the speech-to-text server sleeps, breaks, or is paid for by the second."""

from bench.outages.scenarios import Captioned, Hour, cold_start, hour, latency, outage

__all__ = ["Captioned", "Hour", "cold_start", "hour", "latency", "outage"]

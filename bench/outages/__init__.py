# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Measures a reader's captions while the speech-to-text server starts, fails, or is billed by the second."""

from bench.outages.scenarios import Captioned, Hour, cold_start, hour, latency, outage

__all__ = ["Captioned", "Hour", "cold_start", "hour", "latency", "outage"]

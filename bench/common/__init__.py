# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Shared parts of all benchmarks: processes that take commands, facts of the machine, figures, and results.

What a process costs is read by `sandbox.process_stats`.
"""

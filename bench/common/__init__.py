# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What all benchmarks share: processes that are told what to do, facts of the machine, figures, and results.

What a process costs is read by `sandbox.process_stats`.
"""

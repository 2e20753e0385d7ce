# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What all benchmarks share: processes that take commands, facts of the machine, figures, and results.

What a process costs is read by `sandbox.process_stats`.
"""

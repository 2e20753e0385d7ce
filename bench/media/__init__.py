# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The receive path under load. Each part runs in its own process, controlled by `bench.common`'s JSON lines.

`generator` is the SFU (it sends Opus that was encoded before), `receiver` the product or, for comparison, what programs for
this job commonly do (`stock`), `sink` the speech-to-text server. `rig` has them all.
"""

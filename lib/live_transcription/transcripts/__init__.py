# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Transcripts that are kept: the utterances of a call, as files, and as an encrypted journal until they are delivered.

See docs/transcripts.md. `consent` decides whether a transcript is kept. Only `storage` reads and writes files.
"""

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The engine: joins Talk calls, hears the speakers, has their words transcribed, sends captions back.

Nothing in this package knows an HTTP server, AppAPI or Nextcloud; `live_transcription.service` is its only door.
"""

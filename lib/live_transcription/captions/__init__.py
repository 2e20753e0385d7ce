# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Turns the results of speech-to-text into captions. Each word is sent once, and speakers take turns on the screen. Pure."""

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Speech-to-text results as captions: words are committed once, and speakers take turns on the screen. Pure."""

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Kyutai's speech-to-text on Modal: moshi-server behind a thin proxy. Independent of the app: it runs in the container."""

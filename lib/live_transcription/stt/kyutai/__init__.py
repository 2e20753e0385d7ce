# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kyutai's models over a WebSocket, on Modal or on a moshi-server."""

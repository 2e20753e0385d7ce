# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Stand-ins for the speech-to-text servers: Kyutai on Modal and moshi-server, with their failures, on loopback."""

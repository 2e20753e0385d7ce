# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many calls and speakers this process can serve, and what it sheds when it is short."""

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A test call on a real Nextcloud: `make live-test`, see LIVE_TESTING.md.

Knows Nextcloud, Talk and the HPB by their addresses alone. `python -m sandbox.live_test.rehearsal` tries it on this machine.
"""

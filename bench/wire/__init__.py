# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The delay that the app adds: from received audio to the sent frame, and from the received word to the caption.

The server is a separate process that only records arrival times; both share the machine's monotonic clock. So the
figures hold the sockets' way through the kernel and the server's own delay too, and are upper bounds.
"""

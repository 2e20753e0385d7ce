# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What this app adds to a caption's way: from audio in hand to the wire, and from the wire to the caption.

The server is a separate process that only records arrival times; both share the machine's monotonic clock. So the
figures hold the sockets' way through the kernel and the server's own delay too, and are upper bounds.
"""

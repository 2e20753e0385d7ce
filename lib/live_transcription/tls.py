# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""TLS as a client."""

from __future__ import annotations

import asyncio
import ssl


async def client_context(*, verify: bool) -> ssl.SSLContext:
    """Made off the loop: reading the certificates takes tens of milliseconds."""
    context = await asyncio.to_thread(ssl.create_default_context)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

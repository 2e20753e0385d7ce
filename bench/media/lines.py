# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""JSON lines: commands from the parent process, answers and news to it. A line's `id` comes back with its answer."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

#: Session descriptions are a few kilobytes; reports of many peers are longer.
LIMIT = 2**22


async def commands() -> AsyncIterator[dict[str, Any]]:
    """The parent's commands until it closes the pipe."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


def emit(**message: Any) -> None:
    print(json.dumps(message), flush=True)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""`asyncio.timeout` for Python 3.11.0 to 3.11.3, Debian 12's among them, as later ones have it (CPython issue 102780).

There, a time limit within a task that was cancelled before, which is where connections are closed, ends in CancelledError
instead of TimeoutError. So whatever was to be done after the time limit is not done: by us, by websockets, by aioice. That is
why this is for the whole process.
"""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType


def mend() -> None:
    """Once, before any time limit; does nothing on a Python that needs nothing."""
    if sys.version_info >= (3, 11, 4) or hasattr(asyncio.Timeout, "_requests_before"):
        return
    enter, leave = asyncio.Timeout.__aenter__, asyncio.Timeout.__aexit__

    async def __aenter__(self: asyncio.Timeout) -> asyncio.Timeout:  # noqa: N807
        task = asyncio.current_task()
        self._requests_before = 0 if task is None else task.cancelling()  # type: ignore[attr-defined]
        return await enter(self)

    async def __aexit__(  # noqa: N807
        self: asyncio.Timeout, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        await leave(self, kind, error, trace)
        task = asyncio.current_task()
        requests = 0 if task is None else task.cancelling()
        if self.expired() and kind is asyncio.CancelledError and requests <= self._requests_before:  # type: ignore[attr-defined]
            raise TimeoutError from error
        return None

    asyncio.Timeout._requests_before = 0  # type: ignore[attr-defined]
    asyncio.Timeout.__aenter__ = __aenter__  # type: ignore[method-assign]
    asyncio.Timeout.__aexit__ = __aexit__  # type: ignore[method-assign,assignment]

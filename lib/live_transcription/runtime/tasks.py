# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A task that lives as long as a block of code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


def end_if_cancelled() -> None:
    """Raise CancelledError where a TaskGroup has dropped it. To be called wherever the errors of one do not end the task.

    Python 3.11 and 3.12: a TaskGroup whose child fails in the moment in which its parent is cancelled raises the child's
    error alone, and the parent goes on for ever, since nobody cancels it twice. `Task.cancelling()` still tells, with one
    exception: a group that cancels its parent because a child fails after the group's body has ended does not take that
    back. So the body itself has to wait for children that may fail.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@asynccontextmanager
async def owned_task(coroutine: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run it beside the block, and end it with the block. What the block raises stays as it is; a fault of the task is raised.

    Unlike a TaskGroup of one, it neither ends the block when the task fails nor wraps the block's own errors.
    """
    task = asyncio.create_task(coroutine, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and (fault := task.exception()) is not None:
        raise fault

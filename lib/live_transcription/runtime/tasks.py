# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A task that lives as long as a block of code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


def end_if_cancelled() -> None:
    """Raise CancelledError if a TaskGroup has dropped it. Call this where the errors of a group do not end the task.

    On Python 3.11 and 3.12 a TaskGroup whose child fails while its parent is being cancelled raises only the child's error,
    and the parent runs on, since nobody cancels it twice. `Task.cancelling()` still shows the request, with one exception: a
    group that cancels its parent because a child fails after the group's body has ended does not withdraw that request. So
    the body itself has to wait for children that may fail.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@asynccontextmanager
async def owned_task(coroutine: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a task beside the block and cancel it at the end of the block. Errors of the block stay as they are.

    Unlike a TaskGroup, it neither ends the block when the task fails nor wraps the block's own errors. An error of the task is
    raised at the end of the block.
    """
    task = asyncio.create_task(coroutine, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and (fault := task.exception()) is not None:
        raise fault

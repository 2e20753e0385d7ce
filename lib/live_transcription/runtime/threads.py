# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Thread pools that start all their threads at once, so that they need no further memory.

`ThreadPoolExecutor` starts a thread when none is idle. A thread takes 8 MB of address space for its stack. If that is not
available (`ulimit -v`), a job that arrives while all threads are busy fails, although a thread is free a moment later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

logger = logging.getLogger(__name__)


def started_threads(count: int, name: str) -> ThreadPoolExecutor:
    """An executor with `count` running threads, or as many as the system allows."""
    executor = ThreadPoolExecutor(count, thread_name_prefix=name)
    all_started = threading.Event()
    try:
        for _ in range(count):
            executor.submit(all_started.wait)  # while these wait, none is idle
    except RuntimeError as error:
        logger.warning("Not all threads could be started (%s)", error)
    finally:
        all_started.set()
    return executor


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose default executor has started all its threads; a factory for `asyncio.Runner` and uvicorn."""
    loop = asyncio.SelectorEventLoop()
    loop.set_default_executor(started_threads(min(32, (os.cpu_count() or 1) + 4), "asyncio"))  # asyncio's own default number
    return loop

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The event loop in virtual time."""

from __future__ import annotations

import asyncio
import threading

from sandbox import virtual_clock


def test_a_thread_that_still_runs_at_the_end_is_waited_for() -> None:
    """From Python 3.13 on `asyncio.Runner` gives threads 300 s by the clock of the loop, which pass at once here."""
    began, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        release.wait()
        ended.set()

    async def leave_a_thread_behind() -> None:
        result = asyncio.get_running_loop().run_in_executor(None, work)
        began.wait()
        result.cancel()
        threading.Timer(0.05, release.set).start()

    virtual_clock.run(leave_a_thread_behind())
    assert ended.is_set()

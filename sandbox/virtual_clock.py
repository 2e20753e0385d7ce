# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""An event loop whose time moves only when it has nothing else to do: hours pass in milliseconds, and nothing is timed.

Real sockets on loopback work in it: time moves on when no socket has anything to say. Threads of an executor do too: it
stands still until they are done.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

#: How long a message may take from one socket of this process to another, in real seconds.
_LOOPBACK_S = 0.002
#: Nothing is scheduled and no socket speaks for so long, in real seconds: it hangs.
_HANGS_S = 5.0


class _VirtualSelector(selectors.DefaultSelector):
    now = 0.0
    loopback_s = _LOOPBACK_S
    in_threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # One socket is the loop's own, to wake itself.
        ready = super().select(self.loopback_s if len(self.get_map()) > 1 and timeout != 0 else 0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self.in_threads:
            ready = super().select(_HANGS_S)
            if not ready:
                raise RuntimeError("Every task waits for something that never comes")
            return ready
        self.now += timeout
        return []


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """`loopback_s`: see `run`."""

    def __init__(self, loopback_s: float = _LOOPBACK_S) -> None:
        self._virtual = _VirtualSelector()
        self._virtual.loopback_s = loopback_s
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """As usual, but no virtual second passes until it is done."""
        result = super().run_in_executor(executor, func, *args)
        self._virtual.in_threads += 1
        result.add_done_callback(self._out_of_thread)
        return result

    def _out_of_thread(self, _result: asyncio.Future[Any]) -> None:
        self._virtual.in_threads -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Wait for the executor's threads, however long: `asyncio.Runner`'s limit would pass at once in virtual time."""
        self._virtual.in_threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._virtual.in_threads -= 1


def run(coroutine: Coroutine[Any, Any, T], *, limit_s: float = 24 * 3600.0, loopback_s: float = _LOOPBACK_S) -> T:
    """Run it to its end; TimeoutError after so many virtual seconds.

    `loopback_s`: real seconds to wait for sockets before time moves. With 0 an hour of it is quick, and on a busy machine a
    message may come a timer late.
    """

    async def limited() -> T:
        async with asyncio.timeout(limit_s):
            return await coroutine

    with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(loopback_s)) as runner:
        return runner.run(limited())

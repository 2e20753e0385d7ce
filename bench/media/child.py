# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A process of the benchmark: started, asked, and ended with the block."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from bench.media.lines import LIMIT

_ANSWER_S = 60.0
_END_S = 10.0

#: News that no question was asked for.
OnNews = Callable[[dict[str, Any]], None]


class ChildEnded(Exception):
    """The process ended before its time; why stands on standard error."""


class Child:
    """`python -m module arguments`. `on_news` gets each line that is no answer."""

    def __init__(self, module: str, *arguments: str, on_news: OnNews | None = None) -> None:
        self._command = (sys.executable, "-m", module, *arguments)
        self._on_news = on_news
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LIMIT
        )
        self._reading = asyncio.create_task(self._read(), name=f"read {self._command[2]}")
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, **command: Any) -> None:
        """Returns at once."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def ask(self, **command: Any) -> dict[str, Any]:
        """The answer. Raises ChildEnded, TimeoutError."""
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        if self._reading.done():
            raise ChildEnded(self._command[2])
        self.tell(id=number, **command)
        async with asyncio.timeout(_ANSWER_S):
            return await future

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if "id" in message and (future := self._asked.pop(message["id"], None)) is not None:
                future.set_result(message)
            elif self._on_news is not None:
                self._on_news(message)
        for future in self._asked.values():
            future.set_exception(ChildEnded(self._command[2]))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self.tell(do="end")
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._reading.cancel()
        await asyncio.wait([self._reading])

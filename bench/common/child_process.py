# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A child process of a benchmark. It takes commands and ends with the block (see `bench.common.json_lines`)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from bench.common.json_lines import LONGEST_LINE
from sandbox.die_with_parent import tethered

_START_S = 90.0
_ANSWER_S = 120.0
_END_S = 10.0

#: Name and arguments of what no question was asked for.
OnNews = Callable[[str, dict[str, Any]], None]


class ChildFailed(Exception):
    """A process of the benchmark ended or did not follow a command; see its standard error."""


class Child:
    """`async with Child("bench.load", options={…}) as child:` runs `python -m module arguments`; the kernel ends it with us.

    `options`: what is secret or long, as its first line of input. `greeting`: what it said when it was ready.
    """

    def __init__(
        self, module: str, *arguments: str, options: Mapping[str, Any] | None = None, on_news: OnNews | None = None
    ) -> None:
        self.greeting: dict[str, Any] = {}
        self._module = module
        self._command = tethered([sys.executable, "-m", module, *arguments])
        self._options = options
        self._on_news = on_news
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._numbers: Iterator[int] = itertools.count()

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    async def start(self) -> None:
        """Returns when it is ready; again after `kill`. Raises ChildFailed."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # Ctrl-C comes to us alone
        )
        self._numbers = itertools.count()
        self._reading = asyncio.create_task(self._read(self._process), name=f"read {self._module}")
        try:
            if self._options is not None:
                self._write(self._options)
            self.greeting = await self._answer(next(self._numbers), _START_S)
        except BaseException:
            await self.kill()
            raise

    def tell(self, name: str, **arguments: Any) -> None:
        """Returns at once."""
        self._write({"do": name, **arguments})

    async def do(self, name: str, **arguments: Any) -> Any:
        """What came of it. Raises ChildFailed."""
        number = next(self._numbers)
        self._write({"id": number, "do": name, **arguments})
        return await self._answer(number, _ANSWER_S)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The end of its input is the end of its work."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        await self.kill()

    def _write(self, message: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _answer(self, number: int, timeout_s: float) -> Any:
        if self._reading is None or self._reading.done():
            raise ChildFailed(f"{self._module} has ended")
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise ChildFailed(f"{self._module} has not answered for {timeout_s:g} s") from None
        finally:
            self._asked.pop(number, None)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                message = json.loads(line)
                if "id" not in message:
                    if self._on_news is not None:
                        self._on_news(message.pop("do"), message)
                elif (answer := self._asked.get(message["id"])) is not None and not answer.done():
                    if "error" in message:
                        answer.set_exception(ChildFailed(f"{self._module}: {message['error']}"))
                    else:
                        answer.set_result(message["result"])
        finally:
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(ChildFailed(f"{self._module} has ended"))

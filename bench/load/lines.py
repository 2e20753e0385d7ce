# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A child process that is told what to do: one JSON object per line on its standard input, one answer each on its output."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

Commands = Mapping[str, Callable[..., Awaitable[Any]]]

_LONGEST_LINE = 2**26
_START_S = 90.0


async def obey(commands: Commands) -> None:
    """Until the end of standard input. A request is `{"do": name, …arguments}`; what fails is told and ends nothing."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        arguments = json.loads(line)
        name = arguments.pop("do")
        try:
            answer: dict[str, Any] = {"result": await commands[name](**arguments)}
        except (LookupError, ValueError, TypeError, OSError) as error:
            answer = {"error": f"{name}: {type(error).__name__}: {error}"}
        tell(answer)


def options_line() -> dict[str, Any]:
    """The first line of standard input; what follows it is left for `obey`."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    found: dict[str, Any] = json.loads(line)
    return found


def tell(answer: dict[str, Any]) -> None:
    print(json.dumps(answer, separators=(",", ":")), flush=True)


class ChildFailed(Exception):
    """A process of the load ended or did not do what it was told."""


class Child:
    """`async with Child("bench.load", options) as child:`; `greeting` is its first line. The kernel ends it with us."""

    def __init__(self, module: str, options: dict[str, Any]) -> None:
        self.greeting: dict[str, Any] = {}
        self._module = module
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._asking = asyncio.Lock()

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    async def start(self) -> None:
        """Raises ChildFailed."""
        command = [sys.executable, "-m", self._module]
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LONGEST_LINE, start_new_session=True
        )
        try:
            async with asyncio.timeout(_START_S):
                self.greeting = await self._exchange(self._options)
        except TimeoutError:
            await self.kill()
            raise ChildFailed(f"{self._module} did not start within {_START_S:g} s") from None

    async def do(self, name: str, **arguments: Any) -> Any:
        """Raises ChildFailed."""
        async with self._asking:
            answer = await self._exchange({"do": name, **arguments})
        if "error" in answer:
            raise ChildFailed(f"{self._module}: {answer['error']}")
        return answer["result"]

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None  # noqa: PT018
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        except ConnectionError:
            line = b""
        if not line:
            raise ChildFailed(f"{self._module} has ended")
        found: dict[str, Any] = json.loads(line)
        return found

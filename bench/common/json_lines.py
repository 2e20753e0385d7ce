# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The child's side of `bench.common.child_process`: JSON lines on standard input and output.

A request is `{"id": …, "do": name, …arguments}` and is answered by `{"id": …, "result": …}` or `{"id": …, "error": …}`; without
an `id` it is news, which nobody answers, in either direction. The answer with id 0 says that the child is ready.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Commands = Mapping[str, Callable[..., Awaitable[Any]]]

LONGEST_LINE = 2**26


def options_line() -> dict[str, Any]:
    """The first line of standard input, which a child with options gets; what follows it is left for `obey`."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    found: dict[str, Any] = json.loads(line)
    return found


async def obey(commands: Commands, **greeting: Any) -> None:
    """Reports that it is ready, and executes commands one after the other, until the end of standard input.

    A failed command is reported and ends nothing, unless nobody waits for an answer.
    """
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _write({"id": 0, "result": greeting})
    while line := await reader.readline():
        request = json.loads(line)
        number, name = request.pop("id", None), request.pop("do")
        try:
            answer = {"result": await commands[name](**request)}
        except (LookupError, ValueError, TypeError, OSError) as error:
            if number is None:
                raise
            answer = {"error": f"{name}: {type(error).__name__}: {error}"}
        if number is not None:
            _write({"id": number, **answer})


def tell(name: str, **arguments: Any) -> None:
    """News for the parent."""
    _write({"do": name, **arguments})


def _write(message: dict[str, Any]) -> None:
    print(json.dumps(message, separators=(",", ":")), flush=True)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The demo's child processes. Their output goes to a file, and they are always stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandbox.die_with_parent import tethered

_STOP_S = 8.0


class ProcessFailed(Exception):
    """A child ended before its time or never got ready; the message has the end of its output."""


class Child:
    """An async context manager around one process; SIGTERM at the end, SIGKILL where that does not help.

    `first_line`: JSON that goes to its standard input, which stays open until the end, so that a child that watches it
    notices when this process is gone. On Linux the kernel ends the child then, whatever it watches.
    `answers`: it says on its standard output when it is ready (a child with a `first_line` always does).
    """

    def __init__(
        self,
        name: str,
        module: str,
        *,
        log: Path,
        environment: Mapping[str, str],
        arguments: Sequence[str] = (),
        first_line: Mapping[str, Any] | None = None,
        answers: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        self._command = tethered([sys.executable, "-m", module, *arguments], "TERM")
        self._environment = dict(environment)
        self._first_line = first_line
        self._answers = answers or first_line is not None
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if self._answers else log,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # Ctrl-C comes to us alone, and we stop them in order
            )
        if self._first_line is not None:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(self._first_line).encode() + b"\n")
            await self._process.stdin.drain()
        return self

    async def answer(self, timeout_s: float = 20.0) -> dict[str, Any]:
        """The line of JSON by which a child that `answers` says that it is ready. Raises ProcessFailed."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
            return dict(json.loads(line))
        except (TimeoutError, ValueError) as error:
            raise ProcessFailed(f"{self.name} did not start:\n{self.last_lines()}") from error

    async def ended(self) -> None:
        """Waits for the process to end, which it should not do by itself. Raises ProcessFailed."""
        assert self._process is not None
        code = await self._process.wait()
        raise ProcessFailed(f"{self.name} ended by itself (exit code {code}):\n{self.last_lines()}")

    async def kill(self, number: signal.Signals) -> int:
        """Send a signal. Returns the exit code, negative after a signal. Raises ProcessFailed if the process is over."""
        assert self._process is not None
        if self._process.returncode is not None:
            await self.ended()
        self._process.send_signal(number)
        return await self._process.wait()

    def last_lines(self, count: int = 15) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if process.stdin is not None:
            process.stdin.close()


def bare_environment() -> dict[str, str]:
    """The environment of a container before AppAPI adds variables: only the paths of programs and temporary files."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in kept if name in os.environ}

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A server process of the rig that is always stopped in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from sandbox.die_with_parent import tethered

READY_TIMEOUT_S = 15.0
#: As long as Docker waits.
STOP_TIMEOUT_S = 10.0


class ServerFailed(Exception):
    """A server ended or never listened; the message has the last lines of its log."""


class ServerProcess:
    """`port`: the TCP port that says that it is ready. Linux kills it when this process dies for any reason.

    `environment` is added to ours, or stands alone without `inherit`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        port: int,
        log: Path,
        environment: dict[str, str] | None = None,
        inherit: bool = True,
        ready_timeout_s: float = READY_TIMEOUT_S,
    ) -> None:
        self.name = name
        self.port = port
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        self._command = tethered([*map(str, command)])
        self._environment = {**(os.environ if inherit else {}), **(environment or {})}
        self._ready_timeout_s = ready_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Returns once the port answers. Raises ServerFailed."""
        self._process = self._spawn()
        deadline = time.monotonic() + self._ready_timeout_s
        while True:
            if not self.running or time.monotonic() > deadline:
                await self.kill()
                raise ServerFailed(f"{self.name} did not start:\n{self.last_lines()}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    async def stop(self) -> int | None:
        """Send SIGTERM, then SIGKILL if the process does not end. Returns the exit code; None if nothing ran."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL: no goodbye to anybody."""
        await self._end(signal.SIGKILL)

    async def restart(self, *, down_s: float = 0.0) -> None:
        await self.stop()
        await asyncio.sleep(down_s)
        await self.start()

    def pause(self) -> None:
        """Freezes it: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def logged(self, text: str) -> int:
        """How many lines of its log hold `text`."""
        return self.log.read_text(encoding="utf-8", errors="replace").count(text) if self.log.exists() else 0

    def last_lines(self, count: int = 15) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        # Not asyncio's: a process then outlives no loop, and any loop may stop it.
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    async def _end(self, number: signal.Signals) -> int | None:
        process = self._process
        if process is None:
            return None
        self._signal(signal.SIGCONT)
        self._signal(number)
        try:
            await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
        self._process = None
        return process.returncode

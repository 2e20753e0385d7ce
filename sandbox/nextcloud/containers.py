# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A Docker engine for AppAPI that runs this checkout instead of an image, with exactly the environment of the container."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox import loopback_ice
from sandbox.die_with_parent import tethered

#: What a container has before AppAPI gives it anything.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_ROOT = Path(__file__).resolve().parents[2]
#: As long as Docker waits.
_STOP_S = 10.0


class Container:
    """One container. `volume`: the directory that stays when the container is removed."""

    def __init__(self, environment: Mapping[str, str], volume: Path, log: Path) -> None:
        self.environment = dict(environment)
        self.volume = volume
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it; without effect while it runs."""
        if self.running:
            return
        self.volume.mkdir(parents=True, exist_ok=True)
        variables = {name: os.environ[name] for name in _KEPT if name in os.environ} | self.environment
        variables["PYTHONPATH"] = os.pathsep.join([str(_ROOT), str(_ROOT / "lib")])
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tethered([sys.executable, "-m", "ex_app.main"]),
                cwd=self.volume, env=loopback_ice.child_environment(variables),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after ten seconds."""
        if self._process is None:
            return
        for signal in (self._process.terminate, self._process.kill):
            with contextlib.suppress(ProcessLookupError):
                signal()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await self._process.wait()
                    break
        self._process = None


class Containers:
    """The engine of one machine. Images are only in the registry `local`, since nothing is pulled."""

    def __init__(self, place: Path) -> None:
        """`place`: a directory for volumes and logs."""
        self.containers: dict[str, Container] = {}
        self._place = place

    async def run(self, name: str, environment: Mapping[str, str]) -> Container:
        """Create and start a container; its variable `APP_PERSISTENT_STORAGE` becomes the path of its volume."""
        volume = self._place / name / "volume"
        volume.parent.mkdir(parents=True, exist_ok=True)
        container = Container({**environment, "APP_PERSISTENT_STORAGE": str(volume)}, volume, self._place / name / "log")
        self.containers[name] = container
        await container.start()
        return container

    async def remove(self, name: str, *, with_volume: bool) -> None:
        container = self.containers.pop(name, None)
        if container is not None:
            await container.stop()
            if with_volume:
                shutil.rmtree(container.volume, ignore_errors=True)

    async def aclose(self) -> None:
        for name in list(self.containers):
            await self.remove(name, with_volume=False)

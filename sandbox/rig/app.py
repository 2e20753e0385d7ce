# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The app's process in the rig: started as by AppAPI, queried for its state, and observed from outside."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from sandbox import loopback_ice, process_stats
from sandbox.nextcloud import ExApp, Nextcloud
from sandbox.ports import free_port
from sandbox.rig.process import ServerProcess

_INSTALL_S = 60.0
#: What a container has before AppAPI gives it anything.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Usage:
    """`udp`: sockets for media."""

    threads: int
    udp: int


class AppProcess:
    """`async with AppProcess(nextcloud, hpb_url, secret, log=…) as app:` is installed and enabled inside the block.

    `environment`: more variables. `hpb_url` and `internal_secret` are what an administrator entered, right or wrong.
    """

    def __init__(
        self,
        nextcloud: Nextcloud,
        hpb_url: str,
        internal_secret: str,
        *,
        log: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.nextcloud = nextcloud
        self.ex_app: ExApp = nextcloud.app_api.register()
        port = free_port()
        variables = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            **nextcloud.app_api.environment(self.ex_app, port=port, storage=str(log.parent)),
            "LT_HPB_URL": hpb_url,
            "LT_INTERNAL_SECRET": internal_secret,
            "LOG_LEVEL": "debug",
            **(environment or {}),
        }
        root = str(Path(__file__).resolve().parents[2])
        variables["PYTHONPATH"] = os.pathsep.join([root, str(Path(root) / "lib")])
        self.process = ServerProcess(
            "the app",
            [sys.executable, "-m", "ex_app.main"],
            port=port,
            log=log,
            environment=loopback_ice.child_environment(variables),
            inherit=False,
        )
        self._client = httpx.AsyncClient(base_url=self.ex_app.url, trust_env=False, timeout=5.0)

    async def __aenter__(self) -> Self:
        try:
            await self.process.start()
            await self.nextcloud.app_api.install(self.ex_app, timeout_s=_INSTALL_S)
        except BaseException:
            await self.process.kill()
            await self._client.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.process.stop()
        await self._client.aclose()

    async def health(self) -> dict[str, Any]:
        answer = await self._client.get("/healthz")
        found: dict[str, Any] = answer.json()
        return found

    async def metric(self, name: str, **labels: str) -> float:
        """Sum over the samples that have these labels, 0.0 where there is none."""
        text = (await self._client.get("/metrics")).text
        found = re.findall(rf"^{re.escape(name)}(?:{{([^}}]*)}})? (\S+)$", text, re.MULTILINE)
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        return sum(float(value) for given, value in found if wanted <= set(given.split(",")))

    def usage(self) -> Usage:
        """From the kernel, so that nothing is left out."""
        pid = self.process.pid
        assert pid is not None
        return Usage(threads=process_stats.threads(pid), udp=len(process_stats.udp_drops(pid)))

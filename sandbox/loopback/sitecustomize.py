# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Python imports this at start if its directory is in PYTHONPATH; see `sandbox/loopback_ice.py`.

Waits for aioice to be imported by somebody, so that short-lived Python children pay nothing for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def _loopback_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    address = os.environ.get("SANDBOX_ICE_ADDRESS", "127.0.0.1")
    return [address] if (use_ipv6 if ":" in address else use_ipv4) else []


class _PatchingLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        module.get_host_addresses = _loopback_addresses  # type: ignore[attr-defined]


class _AioiceFinder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "aioice.ice":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader)
        return spec


sys.meta_path.insert(0, _AioiceFinder())

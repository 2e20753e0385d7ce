# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Turns a measurement of the service into a file, a table and an exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bench.common.child_process import ChildFailed
from bench.common.results import Target, write
from bench.load.setting import BenchFailed

Result = dict[str, Any]


def report(
    name: str,
    measured: Coroutine[Any, Any, Result],
    *,
    targets: Callable[[Result], Sequence[Target]],
    show: Callable[[Result], None],
) -> int:
    """Runs it to its end. Missed targets are reported; only failures make the exit code 1."""
    try:
        result = asyncio.run(measured)
    except (BenchFailed, ChildFailed) as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return 1
    aims = targets(result)
    result["targets"] = [target.result() for target in aims]
    path = write(name, result)
    show(result)
    print()
    for target in aims:
        print(target.row())
    print(f"written to {path}")
    return 0

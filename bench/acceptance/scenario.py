# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The command line that all acceptance scenarios share."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from bench.common.machine import service_facts
from bench.common.results import Target, write
from sandbox.rig import RigUnavailable

#: Exit codes: a target was missed; the rig is not available on this machine.
MISSED, UNAVAILABLE = 1, 77


@dataclass(frozen=True, slots=True)
class Outcome:
    """`targets` decide whether the scenario passes; `details` are JSON values for the result file."""

    targets: tuple[Target, ...]
    details: dict[str, Any] = field(default_factory=dict)


def main(
    name: str,
    run: Callable[[argparse.Namespace], Coroutine[Any, Any, Outcome]],
    *,
    description: str,
    arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None,
) -> int:
    """Parse the command line, run the scenario and report it. Returns the exit code.

    `--hpb` selects the HPB series (2.0 or 1.2). `arguments` adds the scenario's own options to the parser.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--hpb", default="2.0", help="series of the HPB (2.0 or 1.2)")
    arguments(parser)
    options = parser.parse_args()
    before = service_facts()
    try:
        outcome = asyncio.run(run(options))
    except RigUnavailable as error:
        print(error, file=sys.stderr)
        return UNAVAILABLE
    after = service_facts()["load_average"]
    path = write(
        f"acceptance-{name}",
        {
            "options": vars(options),
            "machine": before,
            "load_average_after": after,
            "targets": [target.result() for target in outcome.targets],
            **outcome.details,
        },
    )
    for target in outcome.targets:
        print(target.row())
    print(f"load average {before['load_average']} before, {after} after; written to {path}")
    return 0 if all(target.met for target in outcome.targets) else MISSED

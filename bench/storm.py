# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Fifty speakers at once: `python -m bench.storm [--speakers N] [--rounds N]`. How long until all of them are transcribed?

Three storms, each several times: everybody comes into one call that has captions already; the same in five calls at once; and
somebody asks for captions in a call that all are in. The clock runs until the app says (at `/metrics`) that it has received
everybody; for each speaker, until the first packet went out to it.

Prints a table and writes `build/bench/storm.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from bench.common.figures import summary
from bench.common.machine import service_facts
from bench.common.results import Target, table
from bench.load.report import report
from bench.load.setting import BenchFailed, BenchRoom, Setting, setting, warm_up
from sandbox import process_stats

#: Name, number of calls, and whether captions are asked for when everybody is there already.
STORMS = (("one call", 1, False), ("five calls", 5, False), ("asked for", 1, True))
_COLUMNS = ("p50", "p95", "max")
_HEARD = "join_seconds_count"
_PATIENCE_S = 60.0
_POLL_S = 0.05
#: Between two rounds: what was closed is collected, the kernel's sockets are gone.
_REST_S = 2.0


@dataclass
class Storm:
    """Seconds. `everybody`: one value per round; `each`: one per speaker and round. `cpu_s`: of the app, per round."""

    everybody: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def result(self, speakers: int) -> dict[str, Any]:
        cpu = summary(self.cpu_s, digits=1, scale=1000.0 / speakers)
        return {
            "everybody_s": summary(self.everybody, digits=3, scale=1.0),
            "each_s": summary(self.each, digits=3, scale=1.0),
            "cpu_ms_per_join": cpu["p50"],
        }


async def blow(of: Setting, storm: Storm, speakers: int, calls: int, *, asked: bool) -> None:
    """One round."""
    rooms = [await of.open_room() for _ in range(calls)]
    if asked:
        await _fill(of, rooms, speakers)
    else:
        for room in rooms:
            await of.enable(room)
    before = (await of.metrics(_HEARD))[_HEARD]
    pid = of.app.process.pid or 0
    began, cpu = time.monotonic(), process_stats.cpu_seconds(pid)
    if asked:
        await of.enable(rooms[0])
    else:
        await _fill(of, rooms, speakers)
    while (await of.metrics(_HEARD))[_HEARD] < before + speakers:
        if time.monotonic() - began > _PATIENCE_S:
            found = await of.load.do("counts")
            raise BenchFailed(f"not everybody was transcribed within {_PATIENCE_S:g} s: {found}")
        await asyncio.sleep(_POLL_S)
    storm.everybody.append(time.monotonic() - began)
    storm.cpu_s.append(process_stats.cpu_seconds(pid) - cpu)
    storm.each += [each["sent_at"] - began for each in await of.load.do("subscriptions") if each["sent_at"] is not None]
    for room in rooms:
        await of.close_room(room)
    await of.alone()
    await asyncio.sleep(_REST_S)


async def _fill(of: Setting, rooms: list[BenchRoom], speakers: int) -> None:
    for number, room in enumerate(rooms):
        await of.join(room, "talking", speakers // len(rooms) + (number < speakers % len(rooms)))


async def run(speakers: int, rounds: int) -> dict[str, Any]:
    machine = service_facts()
    storms = {name: Storm() for name, _, _ in STORMS}
    async with setting(speakers=speakers, note=False) as of:
        await warm_up(of)
        for number in range(rounds):
            for name, calls, asked in STORMS:
                await blow(of, storms[name], speakers, calls, asked=asked)
                print(
                    f"round {number + 1}/{rounds}, {name}: everybody received after {storms[name].everybody[-1]:.2f} s",
                    flush=True,
                )
        lateness = await of.load.do("lateness")
    results = {name: storm.result(speakers) for name, storm in storms.items()}
    return {"speakers": speakers, "rounds": rounds, "machine": machine, "load_lateness_ms": lateness, "storms": results}


def targets(result: dict[str, Any]) -> list[Target]:
    return [
        Target(f"everybody received, p95: {name}", storm["everybody_s"]["p95"], 5.0, "s")
        for name, storm in result["storms"].items()
    ]


def show(result: dict[str, Any]) -> None:
    rows = [
        (name, *(storm[whom][column] for whom in ("everybody_s", "each_s") for column in _COLUMNS), storm["cpu_ms_per_join"])
        for name, storm in result["storms"].items()
    ]
    print("\nseconds until everybody was transcribed, and until each one was; ms of CPU per join")
    print(table(("storm", "everybody p50", "p95", "max", "each p50", "p95", "max", "CPU"), rows))
    print(f"the load was late by {result['load_lateness_ms']['p95']} ms (p95)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.storm", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--speakers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    return report("storm", run(options.speakers, options.rounds), targets=targets, show=show)


if __name__ == "__main__":
    sys.exit(main())

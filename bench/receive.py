# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The cost of a speaker, from RTP to the WebSocket: `python -m bench.receive [--speakers 1,10,50] [--quick]`.

Two receiving processes on this machine, each with so many real ICE/DTLS/SRTP peers on loopback: the product's own speakers (all
of it: jitter buffer, Opus, voice activity detection, resilience, captions), and `bench/media/stock.py`, what programs for this
job commonly do. They play in turns, so that both meet the same machine; while one does, the other is measured as idle
(connected, no RTP). Generator and speech-to-text server are processes of their own.

- CPU: user and system time of the receiving process, per speaker and second.
- memory: growth of the resident set from one number of speakers to the next.
- behind: what was not kept up with, as datagrams lost in full socket buffers and as lateness of the event loop.

Prints a table and writes `build/bench/receive.json`. It reports missed aims; the exit code is 1 only if our code failed.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench.common.machine import media_facts
from bench.common.results import write
from bench.media.results import Collected, Level, summary, tables
from bench.media.rig import ReceiverLate, Rig
from sandbox import process_stats

VARIANTS = ("ours", "stock")
#: A variant is one event loop, so it has one core. What few speakers cost each is more than what many do, which is why more
#: speakers are tried as long as that comes to no more than this; who falls behind gets no more in any case.
_MOST_CORES = 2.0
#: The scenarios other than `talk` are measured with this many speakers at most.
_SCENARIO_SPEAKERS = 25
_WARM_S = 2.0
#: The product rests after two seconds of digital silence.
_SILENCE_WARM_S = 4.0
#: Longest window: a speaker without RTP is requested again after 12 s, which is counted separately.
_WINDOW_S = 10.0
#: (name, program, impairment)
SCENARIOS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("silence", "silence", {}),
    ("room", "room", {}),
    ("dtx", "dtx", {}),
    ("loss", "talk-fec", {"loss": 0.05}),
    ("reorder", "talk", {"reorder": 0.05, "jitter_s": 0.03}),
)
#: What the figures of the summary may be at most.
AIMS = {
    "ours_ms_per_speaker_s": 3.0,
    "ratio": 0.25,
    "silent_ms_per_speaker_s": 1.2,
    "idle_ms_per_speaker_s": 0.3,
    "rss_mb_per_speaker": 1.0,
    "idle_rss_mb_per_speaker": 0.3,
}


class Run:
    """`levels`: numbers of speakers, ascending. `seconds` of talk and silence are measured at each, half of the others."""

    def __init__(self, rig: Rig, variants: Sequence[str], levels: Sequence[int], seconds: float) -> None:
        self.collected = Collected()
        self._rig = rig
        self._variants = variants
        self._levels = levels
        self._seconds = seconds
        self._refused: dict[str, str] = {}

    async def run(self) -> None:
        scenarios_at = max((level for level in self._levels if level <= _SCENARIO_SPEAKERS), default=self._levels[0])
        for level in self._levels:
            present = [variant for variant in self._variants if self._may_have(variant, level)]
            added = [await self._grow(variant, level) for variant in present]
            present = [one.variant for one in added if one is not None]
            if not present:
                break
            await self._play(present, level, "talk", "talk", {}, self._seconds if level > 1 else self._seconds / 2)
            for one in added:
                if one is not None:
                    self._settle(one)
            if level == scenarios_at:
                for name, program, impairment in SCENARIOS:
                    seconds = self._seconds if name == "silence" else self._seconds / 2
                    await self._play(present, level, name, program, impairment, seconds)
            elif level > scenarios_at:
                await self._play(present, level, "silence", "silence", {}, self._seconds / 2)
                for variant, usage in (await self._rig.rest(min(_WINDOW_S, self._seconds))).items():
                    if variant in present:
                        self.collected.add(variant, "idle", level, usage)

    def _may_have(self, variant: str, level: int) -> bool:
        if variant in self._refused:
            return False
        before = max((n for v, s, n in self.collected.usage if v == variant and s == "talk"), default=None)
        if before is None:
            return True
        expected = (self.collected.ms(variant, "talk", before) or 0.0) * level / 1000
        if self.collected.behind(variant, "talk", before):
            self._refused[variant] = f"{variant} fell behind with {before} speakers"
        # The first figure is for one speaker and includes the fixed cost of the process.
        elif before > 1 and expected > _MOST_CORES:
            self._refused[variant] = f"{variant} would need {expected:.1f} cores for {level} speakers and has one"
        if variant in self._refused:
            print(f"    {self._refused[variant]}: left out from there on", flush=True)
        return variant not in self._refused

    async def _grow(self, variant: str, level: int) -> Level | None:
        added = level - self._rig.peers[variant]
        before = self._rig.memory(variant).rss_mb
        try:
            cpu_s = await self._rig.add(variant, added)
        except ReceiverLate as late:
            self._refused[variant] = str(late)
            print(f"    {late}", flush=True)
            return None
        self.collected.levels.append(Level(variant, level, added, cpu_s, before, self._rig.memory(variant).rss_mb))
        return self.collected.levels[-1]

    def _settle(self, level: Level) -> None:
        memory = self._rig.memory(level.variant)
        level.talking_mb, level.talking_uss_mb = memory.rss_mb, memory.uss_mb
        level.threads = process_stats.threads(self._rig.receivers[level.variant].pid)

    async def _play(
        self, variants: Sequence[str], level: int, scenario: str, program: str, impairment: dict[str, Any], seconds: float
    ) -> None:
        rounds = max(1, math.ceil(seconds / _WINDOW_S))
        warm_s = _SILENCE_WARM_S if scenario in ("silence", "room") else _WARM_S
        play = {"program": program, "count": level, "impairment": impairment}
        for _ in range(rounds):
            for variant in variants:
                used = await self._rig.window(variant, play, warm_s=warm_s, seconds=seconds / rounds)
                for name, usage in used.items():
                    if name == variant:
                        self.collected.add(name, scenario, level, usage)
                    elif self._rig.peers[name] == level:
                        self.collected.add(name, "idle", level, usage)
        figures = [
            f"{variant} {milliseconds:.2f} ms"
            for variant in variants
            if (milliseconds := self.collected.ms(variant, scenario, level)) is not None
        ]
        print(f"    {scenario}, {level} speakers: {', '.join(figures)} of CPU per speaker and second", flush=True)


async def measure(variants: Sequence[str], levels: Sequence[int], seconds: float) -> dict[str, Any]:
    machine, began = media_facts(), time.monotonic()
    if machine["free_cores"] < 0.8 * machine["cores"]:
        print(f"    The machine is busy: {machine['free_cores']} of {machine['cores']} cores are free.", flush=True)
    async with Rig(variants) as rig:
        run = Run(rig, variants, levels, seconds)
        await run.run()
        reports = {variant: await rig.receivers[variant].do("report") for variant in variants}
    print(tables(run.collected))
    return {
        **summary(run.collected, levels),
        "rows": run.collected.rows(),
        "memory": [level.row() for level in run.collected.levels],
        "speech": {key: reports["ours"][key] for key in ("captions", "errors", "reconnects", "switches")},
        "exceptions": {variant: reports[variant]["exceptions"] for variant in variants},
        "seconds": seconds,
        "took_s": round(time.monotonic() - began, 1),
        "machine": machine,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", default=None, help="numbers of speakers, ascending (default 1,10,25,50,200; quick 1,10)")
    parser.add_argument("--seconds", type=float, default=None, help="measured per variant and row (default 20; quick 10)")
    parser.add_argument("--quick", action="store_true", help="a minute and a half, fewer speakers")
    arguments = parser.parse_args()
    levels = sorted(
        {int(number) for number in (arguments.speakers or ("1,10" if arguments.quick else "1,10,25,50,200")).split(",")}
    )
    result = asyncio.run(measure(VARIANTS, levels, arguments.seconds or (10.0 if arguments.quick else 20.0)))
    path = write("receive", result)
    print()
    right = not any(result["exceptions"].values())
    if not right:
        print(f"exceptions that nobody handled: {result['exceptions']}")
    for name, value in result.items():
        if not isinstance(value, int | float):
            continue
        aim = AIMS.get(name)
        missed = aim is not None and value > aim
        print(f"{name:>30} {value:>8g}{'' if aim is None else f'  (at most {aim:g})'}{'  MISSED' if missed else ''}")
    print(f"written to {path} ({result['took_s']} s)")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())

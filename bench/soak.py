# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Weeks of use in minutes: `python -m bench.soak [--minutes N] [--calls N] [--talking N] [--muted N] [--no-faults]`.

People come, go, mute, reload; calls end and begin; speech-to-text, signaling and the SFU break and come back; the app is
disabled and enabled, its settings change (`bench.load.churn_script`). The number of people stays the same, so the app's
memory, descriptors and threads must stay the same too. The benchmark samples them every 10 s from outside; at the end
everybody leaves, and nothing may remain. The baseline is taken after a warm-up in which every event has happened once.

Prints a line a minute, then a table; writes `build/bench/soak.json` and the series as `build/bench/soak.csv`.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from bench.common.figures import growth
from bench.common.machine import service_facts
from bench.common.results import DIRECTORY, Target
from bench.load.churn import Living
from bench.load.churn_script import script
from bench.load.report import report
from bench.load.setting import Setting, setting, warm_up
from sandbox.process_stats import Usage

SERIES = DIRECTORY / "soak.csv"
SAMPLE_S = 10.0
#: Minutes 3 to 5 against the last three, in seconds.
EARLY = (120.0, 300.0)
LATE_S = 180.0
#: After the last one has left, before the app is looked at for the last time.
REST_S = 10.0
#: Metrics that tell by their labels why something had to be opened again.
_CAUSES = ("signaling_reconnects_total", "speaker_reconnects_total", "stt_errors_total", "stt_reconnects_total")


class Observer:
    """`series`: one row per look. `again`: how often captions had to be asked for again, since a call was lost;
    `unanswered`: looks that the app did not answer within seconds.
    """

    def __init__(self, of: Setting, living: Living) -> None:
        self.series: list[dict[str, float]] = []
        self.again = self.unanswered = 0
        self._of = of
        self._living = living

    async def look(self, at: float) -> None:
        found = self._of.usage()
        try:
            health, tasks = await self._of.app.health(), await self._of.app.metric("live_transcription_tasks")
        except httpx.HTTPError:
            self.unanswered += 1
            return
        counts = await self._of.load.do("counts")
        row = {
            "at_s": round(at, 1),
            **{name: round(value, 2) for name, value in asdict(found).items()},
            "tasks": tasks,
            **{name: health.get(name, 0) for name in ("calls", "speakers", "targets", "captions_sent")},
            **{name: counts[name] for name in ("talking", "silent", "muted", "connected", "apps")},
        }
        self.series.append(row)
        if health.get("calls", 0) < len(self._living.rooms):
            self.again += 1
            await self._living.ask_again()
        if len(self.series) % 6 == 0:
            shown = ("rss_mb", "pss_mb", "tasks", "threads", "descriptors", "calls", "speakers", "connected", "captions_sent")
            print(f"{at / 60:5.1f} min  " + "  ".join(f"{name} {row[name]:g}" for name in shown), flush=True)


async def live(observer: Observer, living: Living, seconds: float, seed: int, *, faults: bool) -> None:
    """In real time; what takes long pushes back what comes after it, and is not made up for."""
    began, look_at, offset = time.monotonic(), 0.0, 0.0
    for at, what in script(seconds, seed, faults=faults):
        now = time.monotonic() - began
        if now >= seconds:
            return
        offset = max(offset, now - at)
        await asyncio.sleep(max(0.0, at + offset - now))
        await living.do(what)
        now = time.monotonic() - began
        if now >= look_at:
            await observer.look(now)
            look_at = now + SAMPLE_S


async def run(options: argparse.Namespace) -> dict[str, Any]:
    machine = service_facts()
    async with setting(speakers=options.calls * options.talking, note=False) as of:
        await warm_up(of)
        living = Living(of, calls=options.calls, talking=options.talking, muted=options.muted, seed=options.seed)
        print("rehearsing", flush=True)
        await living.rehearse()
        await of.alone()
        await asyncio.sleep(REST_S)
        before, tasks_before = of.usage(), await of.app.metric("live_transcription_tasks")
        observer = Observer(of, living)
        await living.begin()
        try:
            await live(observer, living, options.minutes * 60, options.seed, faults=options.faults)
            await living.end()
            await of.alone()
            await asyncio.sleep(REST_S)
            after, tasks_after = of.usage(), await of.app.metric("live_transcription_tasks")
            errors = (await of.app.health()).get("last_errors", [])
        finally:
            _write_series(observer.series)
        names = ("join_seconds_count", "captions_sent_total", "frames_dropped_total", "words_dropped_total",
                 "packets_lost_total", "stt_errors_total", "signaling_reconnects_total", "speaker_reconnects_total",
                 "stt_dropped_audio_seconds_total")  # fmt: skip
        return {
            "minutes": options.minutes,
            "calls": options.calls,
            "talking": options.calls * options.talking,
            "muted": options.calls * options.muted,
            "seed": options.seed,
            "machine": machine,
            "done": dict(living.done),
            "refused": dict(living.refused),
            "asked_again": observer.again,
            "unanswered": observer.unanswered,
            "counters": {name: round(value, 1) for name, value in (await of.metrics(*names)).items()},
            "causes": {name: await of.labelled(name) for name in _CAUSES},
            "before": {**asdict(before), "tasks": tasks_before},
            "after": {**asdict(after), "tasks": tasks_after},
            "last_errors": [error.get("code") for error in errors],
            "warnings": warnings(of.app.process.log),
            **grown(observer.series, before, after),
        }


def grown(series: list[dict[str, float]], before: Usage, after: Usage) -> dict[str, Any]:
    """Shares in per cent; None where the run was too short to tell."""
    end = series[-1]["at_s"] if series else 0.0
    found: dict[str, Any] = {}
    for name in ("rss_mb", "pss_mb"):
        column = [(row["at_s"], row[name]) for row in series]
        share = growth(column, EARLY, (end - LATE_S, end + 1)) if end - LATE_S >= EARLY[1] else None
        found[f"{name.removesuffix('_mb')}_growth_percent"] = None if share is None else round(100 * share, 2)
    found["rss_left_mb"] = round(after.rss_mb - before.rss_mb, 1)
    return found


def warnings(log: Path) -> dict[str, int]:
    """What the app logged from level warning up, and how often."""
    found = Counter[str]()
    for text in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            found["(no JSON) " + text[:80]] += 1
            continue
        if line["level"] in ("warning", "error", "critical"):
            found[f"{line['level']}: {line['message'][:120]}"] += 1
    return dict(found.most_common(40))


def _write_series(series: list[dict[str, float]]) -> None:
    if not series:
        return
    SERIES.parent.mkdir(parents=True, exist_ok=True)
    with SERIES.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(series[0]))
        writer.writeheader()
        writer.writerows(series)


def targets(result: dict[str, Any]) -> list[Target]:
    """More is left than at the start."""
    before, after = result["before"], result["after"]
    return [
        Target("RSS growth after the 2nd minute", result["rss_growth_percent"], 2.0, "%"),
        Target("tasks left", after["tasks"] - before["tasks"], 0),
        Target("threads left", after["threads"] - before["threads"], 0),
        Target("descriptors left", after["descriptors"] - before["descriptors"], 0),
    ]


def show(result: dict[str, Any]) -> None:
    for name in ("done", "refused", "counters", "causes", "before", "after", "last_errors", "warnings"):
        print(f"{name}: {json.dumps(result[name])}")
    print(f"captions had to be asked for again {result['asked_again']} times; RSS left: {result['rss_left_mb']} MB")
    print(f"the series is in {SERIES}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--calls", type=int, default=4)
    parser.add_argument("--talking", type=int, default=3, help="in each call")
    parser.add_argument("--muted", type=int, default=6, help="in each call, at least 2")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-faults", dest="faults", action="store_false")
    options = parser.parse_args()
    return report("soak", run(options), targets=targets, show=show)


if __name__ == "__main__":
    sys.exit(main())

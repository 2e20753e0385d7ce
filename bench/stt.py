# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The delay to and from Kyutai: `python -m bench.stt [--speakers 50] [--seconds 15]`. No GPU: stand-ins answer as Kyutai does.

- added latency: many people talk at once; from audio in hand to the frame on the wire, from a word on the wire to the caption
  handed to signaling. Real time, with the servers in a process of their own (`bench.wire`).
- the rest in the loop of a virtual clock, with the sandbox's stand-ins (words 0.48 s behind the audio) and real recordings:
  first word and final, a cold start of 60 s, an outage of 10 s, an hour in which somebody speaks 30 % of the time.

Prints a table and writes `build/bench/stt.json`. Exit code 1 where an aim is missed or a word is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.outages import cold_start, hour, latency, outage
from bench.wire.client import measure
from bench.wire.cost import cost
from sandbox.virtual_clock import run

RESULT = Path("build/bench/stt.json")


@dataclass(frozen=True, slots=True)
class Row:
    """`value` is right if it is at most `aim`."""

    name: str
    value: float
    aim: float
    unit: str

    @property
    def right(self) -> bool:
        return self.value <= self.aim

    def __str__(self) -> str:
        mark = "" if self.right else "  MISSED"
        return f"{self.name:<58} {self.value:>8.3g} {self.unit:<3} (at most {self.aim:g}){mark}"


def percentiles(name: str, values_s: Sequence[float], p50_ms: float, p95_ms: float) -> list[Row]:
    ordered = sorted(values_s)
    return [
        Row(f"{name}, p50", round(statistics.median(ordered) * 1000, 2), p50_ms, "ms"),
        Row(f"{name}, p95", round(ordered[int(len(ordered) * 0.95)] * 1000, 2), p95_ms, "ms"),
    ]


def added_latency(dialect: str, speakers: int, seconds: float) -> list[Row]:
    found = asyncio.run(measure(dialect, speakers, seconds))
    print(f"    {dialect}: {len(found.audio_to_wire)} frames, {len(found.wire_to_caption)} words, {found.cores:.2f} cores")
    return [
        *percentiles(f"{dialect}: audio to wire, {speakers} speakers", found.audio_to_wire, 20, 60),
        *percentiles(f"{dialect}: wire to caption, {speakers} speakers", found.wire_to_caption, 20, 60),
    ]


def processor_time(dialect: str, speakers: int, seconds: float) -> list[Row]:
    found = asyncio.run(cost(dialect, speakers, seconds))
    return [
        Row(f"{dialect}: CPU per talking speaker and second, {speakers} speakers", found.talking_ms, 0.6, "ms"),
        Row(f"{dialect}: CPU per silent speaker and second, {speakers} speakers", found.silent_ms, 0.05, "ms"),
    ]


def on_the_virtual_clock(dialect: str) -> list[Row]:
    normal = run(latency(dialect))
    cold = run(cold_start(dialect, 60.0)) if dialect == "modal" else None
    broken = run(outage(dialect, 10.0))
    rows = [
        Row(f"{dialect}: first word shown after it was spoken, p50", normal.first_word_p50_s, 0.8, "s"),
        Row(f"{dialect}: first word shown after it was spoken, p95", normal.first_word_p95_s, 0.8, "s"),
        Row(f"{dialect}: last word after the end of speech, p50", normal.last_word_p50_s, 0.9, "s"),
        Row(f"{dialect}: words wrong of {normal.words}", normal.wrong, 0, ""),
    ]
    if cold is not None:
        rows += [
            Row(f"{dialect}: 60 s cold start, lag gone after it was up", cold.lag_gone_s, 25, "s"),
            Row(f"{dialect}: 60 s cold start, words wrong of {cold.words}", cold.wrong, 0, ""),
        ]
    return [
        *rows,
        Row(f"{dialect}: 10 s outage, lag gone after it was up", broken.lag_gone_s, 25, "s"),
        Row(f"{dialect}: 10 s outage, words wrong of {broken.words}", broken.wrong, 0, ""),
    ]


def the_hour() -> list[Row]:
    found = run(hour(share=0.3, seed=1), loopback_s=0)
    print(
        f"    an hour of {found.turns} turns: {found.speech_s:.0f} s of speech, sockets open {found.socket_s:.0f} s, "
        f"{found.sessions} sessions, {found.saved_s:.0f} s of silence not sent"
    )
    return [
        Row("modal: an hour with 30 % speech, share with a socket open", round(found.socket_s / 3600 * 100, 1), 45, "%"),
        Row(f"modal: an hour with 30 % speech, words wrong of {found.words}", found.wrong, 0, ""),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long they talk, per dialect")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    rows: list[Row] = []
    began = time.monotonic()
    for dialect in ("modal", "moshi"):
        rows += added_latency(dialect, arguments.speakers, arguments.seconds)
        rows += processor_time(dialect, arguments.speakers, arguments.seconds)
    for dialect in ("modal", "moshi"):
        rows += on_the_virtual_clock(dialect)
    rows += the_hour()
    for row in rows:
        print(row)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "speakers": arguments.speakers,
        "took_s": round(time.monotonic() - began, 1),
        "rows": [{"name": row.name, "value": row.value, "aim": row.aim, "unit": row.unit, "right": row.right} for row in rows],
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"written to {RESULT} ({found['took_s']} s)")
    return 0 if all(row.right for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Measure the gain of each optimisation of a frame's path: `python -m bench.ablation [--speakers 25,50,100] [--dialect moshi]`.

One receiving process per variant of `bench.media.ablated`, all with real ICE/DTLS/SRTP peers on loopback. They are played to in
turns, each round in another order, so that all meet the same machine. Two of the variants are identical: an optimisation has
earned its place if switching it off costs at least 8 % and three times the difference of the two controls.

Prints a table and writes `build/bench/ablation-<dialect>.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench.common.machine import media_facts
from bench.common.results import table, write
from bench.media.ablated import SWITCHES
from bench.media.rig import Rig

_WARM_S = 1.5
_LEAST_GAIN = 0.08
_SPREADS = 3.0


async def measure(levels: Sequence[int], rounds: int, seconds: float, dialect: str) -> dict[str, Any]:
    """CPU in ms per speaker and second, by number of speakers and variant, one figure per round."""
    machine = media_facts()
    found: dict[int, dict[str, list[float]]] = {}
    audio: dict[int, dict[str, list[float]]] = {}
    loads: dict[int, float] = {}
    variants = list(SWITCHES)
    async with Rig(variants, receiver="bench.media.ablated", stt_path="/moshi" if dialect == "moshi" else "") as rig:
        for level in levels:
            for variant in variants:
                await rig.add(variant, level - rig.peers[variant])
            found[level] = {variant: [] for variant in variants}
            audio[level] = {variant: [] for variant in variants}
            for number in range(rounds):
                for variant in variants[number % len(variants) :] + variants[: number % len(variants)]:
                    play = {"program": "talk", "count": level, "impairment": {}}
                    usage = (await rig.window(variant, play, warm_s=_WARM_S, seconds=seconds))[variant]
                    found[level][variant].append(round(usage.cpu_s * 1000 / usage.seconds / level, 3))
                    audio[level][variant].append(round(usage.heard_s / usage.seconds / level, 2))
                print(f"    {level} speakers, round {number + 1}: {_latest(found[level])}", flush=True)
            loads[level] = round(os.getloadavg()[0], 2)
    return {"cpu_ms_per_speaker_s": found, "audio_share": audio, "load_average": loads, "machine": machine}


def _latest(figures: dict[str, list[float]]) -> str:
    return ", ".join(f"{variant} {values[-1]:.2f}" for variant, values in figures.items())


def verdicts(found: dict[int, dict[str, list[float]]]) -> str:
    """Means over the rounds, and by how much each variant exceeds the mean of the controls."""
    rows = []
    for level, figures in found.items():
        means = {variant: statistics.mean(values) for variant, values in figures.items()}
        control = (means["control1"] + means["control2"]) / 2
        both = [*figures["control1"], *figures["control2"]]
        spread = max(abs(means["control1"] - means["control2"]), statistics.stdev(both) if len(both) > 1 else 0.0) / control
        for variant, values in figures.items():
            gain = means[variant] / control - 1
            earned = gain >= max(_LEAST_GAIN, _SPREADS * spread)
            judged = "" if variant.startswith("control") else "yes" if earned else "no"
            each = " / ".join(f"{value:.2f}" for value in values)
            rows.append((level, variant, each, f"{means[variant]:.2f}", f"{gain:+.1%}", f"{spread:.1%}", judged))
    return table(("N", "without", "rounds", "mean", "cost", "control spread", "earned"), rows, left=3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", default="25,50,100", help="numbers of speakers, ascending (default 25,50,100)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a window (default 8)")
    parser.add_argument("--dialect", choices=["modal", "moshi"], default="moshi")
    arguments = parser.parse_args()
    levels = sorted({int(number) for number in arguments.speakers.split(",")})
    began = time.monotonic()
    result = asyncio.run(measure(levels, arguments.rounds, arguments.seconds, arguments.dialect))
    print(verdicts(result["cpu_ms_per_speaker_s"]))
    path = write(f"ablation-{arguments.dialect}", {**result, "took_s": round(time.monotonic() - began, 1)})
    print(f"load {result['load_average']}, written to {path} ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

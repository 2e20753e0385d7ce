# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A period without changes, and the cost of every process in it."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from dataclasses import dataclass
from typing import Any

from bench.common.figures import summary
from bench.load.schedule import PACKET_S
from bench.load.setting import Setting
from sandbox import process_stats
from sandbox.process_stats import Usage

_SAMPLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Window:
    """Shares are of one core. `waited_share`: how much more the app would have run, had there been a core for it;
    `others_share`: what is none of ours. `health_s`: how long the app took for each `/healthz`,
    an upper bound of how late its event loop was; `lag_s`: what it says itself of that. Times are of the monotonic clock.
    """

    name: str
    began: float
    ended: float
    cpu_share: float
    waited_share: float
    load_share: float
    stt_share: float
    others_share: float
    lateness: dict[str, float]
    samples: list[Usage]
    health_s: list[float]
    lag_s: list[float]

    @property
    def heard_s(self) -> float:
        """Seconds of speakers' audio that went out. The load may be late, on a busy machine."""
        return self.lateness["packets"] * PACKET_S

    def result(self) -> dict[str, Any]:
        last = self.samples[-1]
        found = {
            "seconds": round(self.ended - self.began, 1),
            "cpu_share": round(self.cpu_share, 4),
            "waited_share": round(self.waited_share, 4),
            "load_share": round(self.load_share, 4),
            "stt_share": round(self.stt_share, 4),
            "others_share": round(self.others_share, 4),
            "speaker_seconds": round(self.heard_s, 1),
            "load_lateness_ms": self.lateness,
            "rss_mb": round(statistics.median(sample.rss_mb for sample in self.samples), 1),
            "rss_highest_mb": round(max(sample.rss_mb for sample in self.samples), 1),
            "pss_mb": round(statistics.median(sample.pss_mb for sample in self.samples), 1),
            "threads": last.threads,
            "descriptors": last.descriptors,
            "udp_drops": last.udp_drops,
        }
        return found | ({"healthz_ms": summary(self.health_s), "loop_lag_ms": summary(self.lag_s)} if self.health_s else {})


async def measure(of: Setting, name: str, seconds: float, *, ask_health: bool = False) -> Window:
    """Begins now. Asking the app how it does costs it something too, some 0.3 % of a core."""
    print(f"measuring {name} for {seconds:g} s", flush=True)
    pids = (of.app.process.pid or 0, of.load.pid, of.stt.pid, os.getpid())
    await of.load.do("lateness")
    waited_s = of.usage().waited_s
    began, (busy, _), before = time.monotonic(), process_stats.cores_seconds(), [process_stats.cpu_seconds(pid) for pid in pids]
    samples, health_s, lag_s = [], [], []
    while (left := began + seconds - time.monotonic()) > 0:
        await asyncio.sleep(min(_SAMPLE_S, left))
        samples.append(of.usage())
        if ask_health:
            asked = time.monotonic()
            health = await of.app.health()
            health_s.append(time.monotonic() - asked)
            lag_s.append(float(health.get("loop_lag_s", 0.0)))
    cpu = [process_stats.cpu_seconds(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
    waited_s = of.usage().waited_s - waited_s
    ended, others = time.monotonic(), process_stats.cores_seconds()[0] - busy - sum(cpu)
    elapsed = ended - began
    app, load, stt, _ = (each / elapsed for each in cpu)
    lateness = await of.load.do("lateness")
    others_share = max(0.0, others / elapsed)
    return Window(name, began, ended, app, waited_s / elapsed, load, stt, others_share, lateness, samples, health_s, lag_s)

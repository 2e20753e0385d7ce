# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The whole service under load: `python -m bench.service [--quick] [--talking N] [--muted N] [--calls N] [--minutes M]`.

The app runs in a process of its own, as in production. 100 people talk and 400 are connected and muted, in 10 calls; two more
calls have one speaker each, so that the way of a caption is timed where nobody else has the floor. Phases: nobody, muted people
only, some of them with RTP silence, everybody, and a speech-to-text server that hangs for a minute.

Prints a table and writes `build/bench/service.json`. Missed targets are reported; only failures make it exit with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.common.figures import summary
from bench.common.machine import service_facts
from bench.common.results import Target, table
from bench.load.latency import audio_delays, word_delays
from bench.load.report import report
from bench.load.setting import BenchRoom, Setting, setting, warm_up
from bench.load.window import Window, measure

#: Calls with one speaker.
PROBES = 2
#: Cores that others may take while people talk, before delays say little about the app.
DISTURBED = 0.25
#: Lateness of the load in ms (p95) beyond which it is no load of so many speakers any more.
LATE_MS = 20.0
_COUNTERS = ("frames_dropped_total", "packets_lost_total", "packets_late_total", "packets_undecodable_total",
             "stt_dropped_audio_seconds_total", "captions_sent_total", "words_dropped_total")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """People in all calls together, and seconds."""

    talking: int = 100
    muted: int = 400
    calls: int = 10
    window_s: float = 600.0
    muted_s: float = 120.0
    silent_s: float = 60.0
    settle_s: float = 10.0
    stall_s: float = 60.0


QUICK = Plan(talking=20, muted=80, calls=10, window_s=60.0, muted_s=20.0, silent_s=15.0, settle_s=5.0, stall_s=15.0)


def shares(number: int, calls: int) -> list[int]:
    """Split as evenly as possible."""
    return [number // calls + (call < number % calls) for call in range(calls)]


class Service:
    """One run; `result` grows from phase to phase."""

    def __init__(self, plan: Plan, of: Setting) -> None:
        self.plan = plan
        self.result: dict[str, Any] = {}
        self._of = of
        self._rooms: list[BenchRoom] = []
        self._probes: list[BenchRoom] = []

    async def run(self) -> None:
        plan = self.plan
        await warm_up(self._of)
        await asyncio.sleep(2.0)
        nobody = await measure(self._of, "nobody", min(10.0, plan.muted_s))
        muted = await self._muted()
        silent = await self._silent(muted)
        talking = await self._talking()
        stalled = await self._stalled()
        windows = [window for window in (nobody, muted, silent, talking) if window is not None]
        self.result["phases"] = {window.name: window.result() for window in windows}
        self.result |= per_speaker(plan, nobody, muted, talking)
        self.result["stalled"] = stalled
        self.result |= await self._end(nobody)

    async def _muted(self) -> Window:
        self._rooms = [await self._of.open_room() for _ in range(self.plan.calls)]
        for room, number in zip(self._rooms, shares(self.plan.muted, self.plan.calls), strict=True):
            await self._of.join(room, "muted", number)
        began = time.monotonic()
        answers = await asyncio.gather(*(self._of.enable(room) for room in self._rooms))
        await self._of.connected(self.plan.muted)
        self.result["join_muted_s"] = await self._joined(began, "connected_at") | {"answers": summary(answers)}
        await asyncio.sleep(self.plan.settle_s)
        return await measure(self._of, "muted", self.plan.muted_s)

    async def _silent(self, muted: Window) -> Window | None:
        """Half of the muted ones send the silence of a track that is switched off."""
        people = [name for room in self._rooms for name in room.people.get("muted", [])]
        half = people[: len(people) // 2]
        if not half or not self.plan.silent_s:
            return None
        await self._of.load.do("turn", people=half, activity="silent")
        await asyncio.sleep(2.0)
        silent = await measure(self._of, "silent", self.plan.silent_s)
        await self._of.load.do("turn", people=half, activity="muted")
        self.result["silent_ms_per_speaker_s"] = cost_ms(silent, muted)
        await asyncio.sleep(2.0)
        return silent

    async def _begin_to_talk(self) -> float:
        began = time.monotonic()
        for room, number in zip(self._rooms, shares(self.plan.talking, self.plan.calls), strict=True):
            await self._of.join(room, "talking", number)
        self._probes = self._probes or [await self._of.open_room() for _ in range(PROBES)]
        for room in self._probes:
            await self._of.join(room, "talking", 1)
            await self._of.enable(room)
        await self._of.connected(self.plan.talking + self.plan.muted + PROBES)
        return began

    async def _talking(self) -> Window:
        before = await self._of.metrics(*_COUNTERS)
        began = await self._begin_to_talk()
        await asyncio.sleep(self.plan.settle_s)
        self.result["join_talking_s"] = await self._joined(began, "sent_at")
        window = await measure(self._of, "talking", self.plan.window_s, ask_health=True)
        heard = await self._of.stt.do("counts")
        self.result |= await self._latency(window)
        await self._of.leave([*self._rooms, *self._probes], "talking")
        await self._of.connected(0)
        await asyncio.sleep(3.0)  # their last words, and with them their counts
        after = await self._of.metrics(*_COUNTERS)
        self.result["counters"] = {name.removesuffix("_total"): round(after[name] - before[name], 3) for name in _COUNTERS}
        self.result["heard"] = heard
        return window

    async def _latency(self, window: Window) -> dict[str, Any]:
        """Latencies from the records of both ends."""
        load_notes, stt_notes = self._of.scratch / "load.npz", self._of.scratch / "stt.npz"
        rooms = await self._of.load.do("notes", path=str(load_notes))
        await self._of.stt.do("notes", path=str(stt_notes))
        with np.load(load_notes) as sent, np.load(stt_notes) as heard:
            starts = [int(start) for start in sent["starts"]]
            times = [sent[f"sent_{number}"] for number in range(len(starts))]
            packets = self._of.load.greeting["packets"]
            audio = audio_delays(heard, starts, times, packets, window.began, window.ended)
            probes = [rooms[room.token] for room in self._probes]
            said, shown_at, shown_in = heard["sent_at"], sent["shown_at"], sent["shown_in"]
            until = window.ended - 5.0  # the last words may still be on their way
            alone = np.where(np.isin(shown_in, probes), shown_at, 0.0)
            crowded = np.where(np.isin(shown_in, probes), 0.0, shown_at)
            _, never = word_delays(said, shown_at, window.began, until)
            return {
                "audio_added_ms": summary(audio.tolist()),
                "caption_added_ms": summary(word_delays(said, alone, window.began, until)[0].tolist()),
                "caption_crowded_ms": summary(word_delays(said, crowded, window.began, until)[0].tolist()),
                "words_never_shown": never,
            }

    async def _stalled(self) -> dict[str, Any]:
        """Speech-to-text hangs while everybody talks."""
        await self._begin_to_talk()
        await asyncio.sleep(2 * self.plan.settle_s)
        before = self._of.usage()
        self._of.stt.signal(signal.SIGSTOP)
        try:
            window = await measure(self._of, "stalled", self.plan.stall_s)
        finally:
            self._of.stt.signal(signal.SIGCONT)
        await asyncio.sleep(2 * self.plan.settle_s)
        return {
            "seconds": self.plan.stall_s,
            "rss_before_mb": round(before.rss_mb, 1),
            "rss_highest_mb": round(max(sample.rss_mb for sample in window.samples), 1),
            "rss_after_mb": round(self._of.usage().rss_mb, 1),
            "cpu_share": round(window.cpu_share, 3),
        }

    async def _end(self, nobody: Window) -> dict[str, Any]:
        for room in [*self._rooms, *self._probes]:
            await self._of.close_room(room)
        await self._of.alone()
        await asyncio.sleep(3.0)
        return {"before": asdict(nobody.samples[-1]), "after": asdict(self._of.usage())}

    async def _joined(self, began: float, moment: str) -> dict[str, Any]:
        """Seconds since captions were asked for, of all who are there since."""
        subscriptions = await self._of.load.do("subscriptions")
        times = [each[moment] - began for each in subscriptions if each[moment] is not None and each[moment] >= began]
        return summary(times, digits=3, scale=1.0)


def cost_ms(sending: Window, quiet: Window) -> float | None:
    """CPU of the app per second of audio that it was sent, above what a phase without any cost it."""
    if not sending.heard_s:
        return None
    more_s = (sending.cpu_share - quiet.cpu_share) * (sending.ended - sending.began)
    return round(more_s * 1000 / sending.heard_s, 3)


def per_speaker(plan: Plan, nobody: Window, muted: Window, talking: Window) -> dict[str, Any]:
    """CPU and memory, from the differences between the phases."""
    speakers = plan.talking + PROBES

    def rss(window: Window, *, last: bool = False) -> float:
        samples = window.samples[-3:] if last else window.samples
        return statistics.median(sample.rss_mb for sample in samples)

    def pss(window: Window) -> float:
        return statistics.median(sample.pss_mb for sample in window.samples)

    return {
        "muted_ms_per_speaker_s": round((muted.cpu_share - nobody.cpu_share) * 1000 / max(1, plan.muted), 3),
        "talking_ms_per_speaker_s": cost_ms(talking, muted),
        "muted_mb_per_speaker": round((rss(muted) - rss(nobody)) / max(1, plan.muted), 3),
        "talking_mb_per_speaker": round((rss(talking, last=True) - rss(muted)) / speakers, 3),
        "rss_mb": {window.name: round(rss(window), 1) for window in (nobody, muted, talking)},
        "pss_mb": {window.name: round(pss(window), 1) for window in (nobody, muted, talking)},
    }


def targets(result: dict[str, Any]) -> list[Target]:
    audio, caption = result["audio_added_ms"]["p95"], result["caption_added_ms"]["p95"]
    stalled = result["stalled"]
    lost = result["counters"]["frames_dropped"] + result["heard"]["skipped"]
    return [
        Target("CPU per talking speaker and second", result["talking_ms_per_speaker_s"], 3.0, "ms"),
        Target("CPU per muted speaker and second", result["muted_ms_per_speaker_s"], 0.3, "ms"),
        Target("  with RTP silence", result.get("silent_ms_per_speaker_s"), 1.2, "ms"),
        Target("memory per talking speaker", result["talking_mb_per_speaker"], 1.0, "MB"),
        Target("memory per muted speaker", result["muted_mb_per_speaker"], 0.3, "MB"),
        Target("frames dropped by us", lost, 0),
        Target("added latency p95, audio to the wire", audio, 100.0, "ms"),
        Target("added latency p95, word to caption", caption, 100.0, "ms"),
        Target("  both together", None if audio is None or caption is None else round(audio + caption, 1), 100.0, "ms"),
        Target("memory growth while the STT server hangs",
               round(100 * (stalled["rss_highest_mb"] / stalled["rss_before_mb"] - 1), 1), 5.0, "%"),
    ]  # fmt: skip


async def run(plan: Plan) -> dict[str, Any]:
    machine = service_facts()
    async with setting(speakers=plan.talking + PROBES, note=True) as of:
        service = Service(plan, of)
        await service.run()
    return {"plan": asdict(plan), "machine": machine, **service.result}


def show(result: dict[str, Any]) -> None:
    shares = ("cpu_share", "waited_share", "load_share", "stt_share", "others_share")
    rows = [
        (name, *(f"{phase[part]:.3f}" for part in shares), f"{phase['rss_mb']:.1f}", f"{phase['load_lateness_ms']['p95']:.2f}")
        for name, phase in result["phases"].items()
    ]
    print("\ncores that each took; RSS of the app in MB; how late the load was in ms")
    print(table(("phase", "app", "waited", "load", "STT", "others", "RSS", "late p95"), rows))
    for name in ("join_muted_s", "join_talking_s", "audio_added_ms", "caption_added_ms", "caption_crowded_ms"):
        print(f"{name:<20} {json.dumps({key: result[name][key] for key in ('count', 'p50', 'p95', 'max')})}")
    talking = result["phases"]["talking"]
    print(f"{'healthz_ms':<20} {json.dumps(talking['healthz_ms'])}, reported loop lag {json.dumps(talking['loop_lag_ms'])}")
    for name in ("counters", "heard", "stalled"):
        print(f"{name:<20} {json.dumps(result[name])}")
    if talking["others_share"] > DISTURBED:
        print(f"\nOther work took {talking['others_share']:g} cores meanwhile: these delays are not the app's alone.")
    if talking["load_lateness_ms"]["p95"] > LATE_MS:
        print("The load did not keep its schedule: people spoke less, and in bursts.")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.service", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 talking, 80 muted, one minute")
    parser.add_argument("--talking", type=int)
    parser.add_argument("--muted", type=int)
    parser.add_argument("--calls", type=int)
    parser.add_argument("--minutes", type=float, help="of the phase in which people talk")
    options = parser.parse_args()
    plan = asdict(QUICK if options.quick else Plan())
    plan |= {name: value for name in ("talking", "muted", "calls") if (value := getattr(options, name)) is not None}
    plan |= {} if options.minutes is None else {"window_s": 60.0 * options.minutes}
    return report("service", run(Plan(**plan)), targets=targets, show=show)


if __name__ == "__main__":
    sys.exit(main())

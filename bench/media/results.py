# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Turns measurement windows into rows, figures per speaker, and a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.common.results import table
from bench.media.rig import Usage

#: Behind: more of the packets than this found the socket buffer full, or the event loop was later than this, or less of the
#: packets could be sent (their transports broke), or less of the speech came out.
_DROPPED_SHARE = 0.001
_LATE_MS = 100.0
_WHOLE_SHARE = 0.9
_PACKETS_PER_S = 50
#: The generator has to keep the packets' pace for a figure to mean anything.
_GENERATOR_LATE_MS = 20.0
#: Of the time; a receiver that waits for a core more than that is measured on a machine with too much else to do.
_WAITED_SHARE = 0.15
#: A speaker without RTP is requested again, in the long run this often (`speaker.SILENCE_S`).
_ASKED_ANEW_S = 120.0
#: Below so many speakers, what the modules take to load outweighs the speakers.
_FEW = 10


@dataclass(slots=True)
class Level:
    """Memory in MB of one variant at one number of speakers: before `added` of them came, once connected, once they talked."""

    variant: str
    speakers: int
    added: int
    setup_cpu_s: float
    before_mb: float
    connected_mb: float
    talking_mb: float = 0.0
    talking_uss_mb: float = 0.0
    threads: int = 0

    def row(self) -> dict[str, Any]:
        return {
            "variant": self.variant,
            "speakers": self.speakers,
            "added": self.added,
            "setup_ms_per_speaker": round(self.setup_cpu_s * 1000 / self.added, 2),
            "rss_connected_mb": self.connected_mb,
            "rss_talking_mb": self.talking_mb,
            "uss_talking_mb": self.talking_uss_mb,
            "threads": self.threads,
        }


@dataclass(slots=True)
class Collected:
    """Everything that was measured; windows of the same variant, scenario and number of speakers count as one."""

    usage: dict[tuple[str, str, int], Usage] = field(default_factory=dict)
    levels: list[Level] = field(default_factory=list)

    def add(self, variant: str, scenario: str, speakers: int, usage: Usage) -> None:
        self.usage.setdefault((variant, scenario, speakers), Usage()).add(usage)

    def ms(self, variant: str, scenario: str, speakers: int) -> float | None:
        """CPU per speaker and second, in milliseconds."""
        usage = self.usage.get((variant, scenario, speakers))
        return None if usage is None or not usage.seconds else usage.cpu_s * 1000 / usage.seconds / speakers

    def behind(self, variant: str, scenario: str, speakers: int) -> bool:
        usage = self.usage.get((variant, scenario, speakers))
        if usage is None:
            return False
        speaker_s = usage.seconds * speakers
        broken = scenario not in ("dtx", "idle") and usage.sent < _WHOLE_SHARE * _PACKETS_PER_S * speaker_s
        everything = {"talk"} if variant == "ours" else {"talk", "silence"}  # we send no silence
        unheard = scenario in everything and usage.heard_s < _WHOLE_SHARE * speaker_s
        # Digital silence that a filter keeps out of the socket counts as dropped, too.
        dropped = 0 if scenario == "silence" else usage.drops
        return dropped > _DROPPED_SHARE * usage.sent or usage.lag_p95_ms > _LATE_MS or broken or unheard

    def rows(self) -> list[dict[str, Any]]:
        return [self._row(*key) for key in self.usage]

    def _row(self, variant: str, scenario: str, speakers: int) -> dict[str, Any]:
        usage = self.usage[variant, scenario, speakers]
        speaker_s = usage.seconds * speakers
        return {
            "variant": variant,
            "scenario": scenario,
            "speakers": speakers,
            "seconds": round(usage.seconds, 1),
            "cpu_ms_per_speaker_s": round(self.ms(variant, scenario, speakers) or 0.0, 3),
            "cores": round(usage.cpu_s / usage.seconds, 3),
            "waited_share": round(usage.waited_s / usage.seconds, 3),
            "lag_p95_ms": usage.lag_p95_ms,
            "lag_max_ms": usage.lag_max_ms,
            "packets": usage.sent,
            "dropped_packets": usage.drops,
            "audio_share": round(usage.heard_s / speaker_s, 3),
            "behind": self.behind(variant, scenario, speakers),
            "generator_ms_per_speaker_s": round(usage.generator_cpu_s * 1000 / speaker_s, 3),
            "generator_late_p95_ms": usage.generator_late_ms,
            "ears_ms_per_speaker_s": round(usage.sink_cpu_s * 1000 / speaker_s, 3),
        }


def growth(levels: Iterable[Level], variant: str) -> tuple[float, float]:
    """MB per speaker: (talking, idle), over the steps from `_FEW` speakers on, or over all where there are no more."""
    mine = [level for level in levels if level.variant == variant]
    steps = [level for level in mine if level.speakers - level.added >= _FEW] or mine[-1:]
    added = sum(level.added for level in steps) or 1
    talking = sum(level.talking_mb - level.before_mb for level in steps) / added
    idle = sum(level.connected_mb - level.before_mb for level in steps) / added
    return round(talking, 3), round(idle, 3)


def compared(collected: Collected, levels: Sequence[int]) -> int:
    """The most speakers that both ours and stock kept up with; the fewest where there is no such number."""
    variants = {variant for variant, _, _ in collected.usage} & {"ours", "stock"}
    kept_up = [
        level
        for level in levels
        if all((v, "talk", level) in collected.usage and not collected.behind(v, "talk", level) for v in variants)
    ]
    return max(kept_up, default=min(levels))


def summary(collected: Collected, levels: Sequence[int]) -> dict[str, Any]:
    """The figures to quote, at the number of speakers that both kept up with. None where it was not measured."""
    speakers = compared(collected, levels)
    ours, stock = collected.ms("ours", "talk", speakers), collected.ms("stock", "talk", speakers)
    setup_ms = _setup_ms(collected.levels, "ours")
    silent = collected.ms("ours", "silence", speakers)
    idle = collected.ms("ours", "idle", speakers)
    found: dict[str, Any] = {
        "speakers": speakers,
        "ours_ms_per_speaker_s": _rounded(ours),
        "stock_ms_per_speaker_s": _rounded(stock),
        "ratio": _rounded(ours / stock if ours and stock else None),
        "silent_ms_per_speaker_s": _rounded(silent),
        "stock_silent_ms_per_speaker_s": _rounded(collected.ms("stock", "silence", speakers)),
        "idle_ms_per_speaker_s": _rounded(None if idle is None else idle + setup_ms / _ASKED_ANEW_S),
        "stock_idle_ms_per_speaker_s": _rounded(collected.ms("stock", "idle", speakers)),
        "setup_ms_per_speaker": round(setup_ms, 2),
    }
    for variant, prefix in (("ours", ""), ("stock", "stock_")):
        if any(level.variant == variant for level in collected.levels):
            talking, idle_mb = growth(collected.levels, variant)
            found |= {f"{prefix}rss_mb_per_speaker": talking, f"{prefix}idle_rss_mb_per_speaker": idle_mb}
    return found


def _setup_ms(levels: Iterable[Level], variant: str) -> float:
    """Of the largest step: the first peer of a process also pays for its certificate."""
    mine = [level for level in levels if level.variant == variant]
    largest = max(mine, key=lambda level: level.added, default=None)
    return 0.0 if largest is None else largest.setup_cpu_s * 1000 / largest.added


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def tables(collected: Collected) -> str:
    """By scenario and number of speakers, the variants side by side; then memory."""
    cpu = [
        (
            row["scenario"],
            row["variant"],
            row["speakers"],
            f"{row['cpu_ms_per_speaker_s']:.2f}",
            f"{row['cores']:.2f}",
            row["lag_p95_ms"],
            row["dropped_packets"],
            *_sending(row),
            ", ".join(_doubts(row)),
        )
        for row in sorted(collected.rows(), key=_order)
    ]
    memory = [
        (
            level.variant,
            level.speakers,
            *(f"{figure:.1f}" for figure in (level.connected_mb, level.talking_mb, level.talking_uss_mb)),
            level.threads,
            f"{level.setup_cpu_s * 1000 / level.added:.1f}",
        )
        for level in sorted(collected.levels, key=lambda level: (level.speakers, level.variant))
    ]
    return "\n".join(
        [
            "CPU and the generator's in ms per speaker and second, lag p95 in ms",
            table(("scenario", "variant", "N", "CPU", "cores", "lag", "dropped", "audio", "generator", ""), cpu, left=2),
            "\nmemory in MB (own: not shared with other processes); set-up in ms of CPU per speaker",
            table(("variant", "N", "connected", "talking", "own", "threads", "set-up"), memory),
        ]
    )


def _sending(row: dict[str, Any]) -> tuple[str, str]:
    if row["scenario"] == "idle":
        return "", ""
    return f"{row['audio_share']:.0%}", f"{row['generator_ms_per_speaker_s']:.2f}"


def _doubts(row: dict[str, Any]) -> list[str]:
    found = {
        "BEHIND": row["behind"],
        "MACHINE BUSY": row["waited_share"] > _WAITED_SHARE,
        "GENERATOR LATE": row["generator_late_p95_ms"] > _GENERATOR_LATE_MS,
    }
    return [name for name, so in found.items() if so]


def _order(row: dict[str, Any]) -> tuple[bool, str, int, str]:
    return row["scenario"] != "talk", row["scenario"], row["speakers"], row["variant"]

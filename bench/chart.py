# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Draws `docs/images/performance.svg` from `build/bench/receive.json`: `python -m bench.chart [--results DIR] [--to FILE]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.common.results import DIRECTORY
from bench.media.svg import Panel, Series, chart

IMAGE = Path("docs/images/performance.svg")


def panels(receive: dict[str, Any]) -> list[Panel]:
    """CPU per speaker and memory of the process, against the number of speakers; what fell behind is left out."""

    def cpu(variant: str, scenario: str) -> list[tuple[float, float]]:
        found = [row for row in receive["rows"] if (row["variant"], row["scenario"]) == (variant, scenario)]
        return sorted((row["speakers"], row["cpu_ms_per_speaker_s"]) for row in found if not row["behind"])

    def memory(variant: str) -> list[tuple[float, float]]:
        kept_up = {speakers for speakers, _ in cpu(variant, "talk")}
        rows = [row for row in receive["memory"] if row["variant"] == variant and row["speakers"] in kept_up]
        return sorted((row["speakers"], row["rss_talking_mb"]) for row in rows)

    ours, muted, stock = cpu("ours", "talk"), cpu("ours", "idle"), cpu("stock", "talk")
    return [
        Panel(
            "CPU per speaker",
            "milliseconds per second, from RTP to the WebSocket",
            "people connected at once (logarithmic)",
            _drawn(("this app", ours), ("common way", stock), ("this app, muted", muted)),
            logarithmic=True,
        ),
        Panel(
            "Memory of the process",
            "MB resident, everybody talking",
            "people connected at once",
            _drawn(("this app", memory("ours")), ("common way", memory("stock"))),
        ),
    ]


def _drawn(*series: tuple[str, list[tuple[float, float]]]) -> list[Series]:
    return [Series(label, points) for label, points in series if points]


def describe(receive: dict[str, Any]) -> str:
    """The same in words, for those who cannot see the chart."""
    speakers, ours, stock = receive["speakers"], receive["ours_ms_per_speaker_s"], receive["stock_ms_per_speaker_s"]
    common = f" and {stock:.1f} ms the common way (a decoded aiortc track, resampled and sent in chunks)" if stock else ""
    return (
        f"With {speakers} people talking at once, each takes {ours:.1f} ms of CPU per second in this app{common}. "
        f"A further speaker takes {receive['rss_mb_per_speaker']:.2f} MB of memory in this app."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=DIRECTORY)
    parser.add_argument("--to", type=Path, default=IMAGE)
    options = parser.parse_args()
    source = options.results / "receive.json"
    if not source.exists():
        print(f"{source} is missing: run make bench NAME=receive first", file=sys.stderr)
        return 2
    receive = json.loads(source.read_text(encoding="utf-8"))
    options.to.parent.mkdir(parents=True, exist_ok=True)
    drawn = chart(panels(receive), title="CPU and memory against the number of speakers", description=describe(receive))
    options.to.write_text(drawn, encoding="utf-8")
    print(f"written to {options.to}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

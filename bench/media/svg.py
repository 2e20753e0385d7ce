# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Line charts as plain SVG 1.1, readable on light and dark pages. Pure: numbers in, text out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; }
.note { fill: #57606a; font-size: 12px; }
.ground { fill: #ffffff; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.series { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
.first { stroke: #0550ae; } .first-mark { fill: #0550ae; }
.second { stroke: #bc4c00; } .second-mark { fill: #bc4c00; }
.third { stroke: #1a7f37; } .third-mark { fill: #1a7f37; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note { fill: #9198a1; }
  .ground { fill: #0d1117; }
  .grid { stroke: #3d444d; }
  .first { stroke: #79c0ff; } .first-mark { fill: #79c0ff; }
  .second { stroke: #ffa657; } .second-mark { fill: #ffa657; }
  .third { stroke: #7ee787; } .third-mark { fill: #7ee787; }
}
"""
_CLASSES = ("first", "second", "third")
_DASHES = ("", "7 4", "2 4")
_HEIGHT, _TOP, _BOTTOM, _LEFT, _RIGHT = 340, 62, 62, 58, 118
#: Between two marks of the x axis; the one that would come closer is left out.
_LABEL_WIDTH = 26


@dataclass(frozen=True, slots=True)
class Series:
    """Points (x, y) in ascending order of x; the label stands at the last one."""

    label: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart; `unit` belongs to the y axis. The x axis is marked where there are points."""

    title: str
    unit: str
    x_label: str
    series: Sequence[Series]
    logarithmic: bool = False


def nice_ticks(largest: float, count: int = 5) -> list[float]:
    """From 0 to at least `largest`, in steps of 1, 2 or 5 times a power of ten."""
    if largest <= 0:
        return [0.0, 1.0]
    rough = largest / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [round(step * number, 10) for number in range(math.ceil(largest / step) + 1)]


def chart(panels: Sequence[Panel], *, title: str, description: str, width: int = 470) -> str:
    """The panels side by side; `title` and `description` are for those who cannot see them."""
    total = width * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {_HEIGHT}" width="{total}" height="{_HEIGHT}"',
        'role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{total}" height="{_HEIGHT}" rx="6"/>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, width * number, width)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, offset: int, width: int) -> list[str]:
    xs = sorted({x for series in panel.series for x, _ in series.points})
    ticks = nice_ticks(max((y for series in panel.series for _, y in series.points), default=1.0))
    left, right, top, bottom = offset + _LEFT, offset + width - _RIGHT, _TOP, _HEIGHT - _BOTTOM

    def across(x: float) -> float:
        if xs[0] == xs[-1]:
            share = 0.5
        elif panel.logarithmic:
            share = math.log(x / xs[0]) / math.log(xs[-1] / xs[0])
        else:
            share = (x - xs[0]) / (xs[-1] - xs[0])
        return round(left + 14 + (right - left - 28) * share, 1)

    def up(y: float) -> float:
        return round(bottom - (bottom - top) * y / ticks[-1], 1)

    parts = [
        f'<text class="title" x="{offset + 16}" y="24">{escape(panel.title)}</text>',
        f'<text class="note" x="{offset + 16}" y="44">{escape(panel.unit)}</text>',
        f'<text class="note" x="{(left + right) / 2}" y="{bottom + 42}" text-anchor="middle">{escape(panel.x_label)}</text>',
    ]
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{left}" y1="{up(tick)}" x2="{right}" y2="{up(tick)}"/>')
        parts.append(f'<text class="note" x="{left - 8}" y="{up(tick) + 4}" text-anchor="end">{tick:g}</text>')
    free_from = 0.0
    for x in xs:
        if across(x) >= free_from:
            parts.append(f'<text class="note" x="{across(x)}" y="{bottom + 20}" text-anchor="middle">{x:g}</text>')
            free_from = across(x) + _LABEL_WIDTH
    heights = _apart([up(series.points[-1][1]) for series in panel.series])
    for number, (series, height) in enumerate(zip(panel.series, heights, strict=True)):
        name, dash = _CLASSES[number % 3], _DASHES[number % 3]
        line = " ".join(f"{across(x)},{up(y)}" for x, y in series.points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<polyline class="series {name}"{dashed} points="{line}"/>')
        parts += [f'<circle class="{name}-mark" cx="{across(x)}" cy="{up(y)}" r="4"/>' for x, y in series.points]
        end = across(series.points[-1][0])
        parts.append(f'<text class="{name}-mark" x="{end + 11}" y="{height + 4}">{escape(series.label)}</text>')
    return parts


def _apart(heights: Sequence[float], least: float = 17.0) -> list[float]:
    """Moved down as far as needed so that no two labels meet."""
    placed = list(heights)
    order = sorted(range(len(placed)), key=placed.__getitem__)
    for above, below in itertools.pairwise(order):
        placed[below] = max(placed[below], placed[above] + least)
    return placed

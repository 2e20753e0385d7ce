# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The results of a benchmark: a JSON file, a table, and the targets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path("build/bench")


def write(name: str, result: dict[str, Any]) -> Path:
    """`build/bench/<name>.json`, below the working directory."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> str:
    """Columns as wide as they need be; the first `left` of them begin together, the others end together."""
    cells = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if number < left else cell.rjust(width) for number, (cell, width) in enumerate(aligned))
        for aligned in (zip(row, widths, strict=True) for row in cells)
    ]
    return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True, slots=True)
class Target:
    """`value` None: not measured, which counts as missed."""

    name: str
    value: float | None
    limit: float
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.value is not None and self.value <= self.limit

    def row(self) -> str:
        shown = "-" if self.value is None else f"{self.value:g}"
        return f"{self.name:<44} {shown:>10} {self.unit:<4} (<= {self.limit:g}) {'met' if self.met else 'MISSED'}"

    def result(self) -> dict[str, object]:
        return {"name": self.name, "value": self.value, "limit": self.limit, "unit": self.unit, "met": self.met}

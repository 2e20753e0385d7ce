# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Statistics that more than one benchmark needs. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Upper bounds in seconds of the classes that lateness is counted in, each 10 % above the one before: 0.1 ms to some 14 s.
_BOUNDS = tuple(1e-4 * 1.1**n for n in range(125))


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share of them does not exceed; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(values: Sequence[float], *, digits: int = 1, scale: float = 1000.0) -> dict[str, float | int | None]:
    """`count`, `p50`, `p95`, `max` of seconds, as milliseconds unless `scale` says otherwise."""
    found = {"p50": percentile(values, 0.5), "p95": percentile(values, 0.95), "max": max(values, default=None)}
    scaled = {name: None if value is None else round(value * scale, digits) for name, value in found.items()}
    return {"count": len(values), **scaled}


class Lateness:
    """A histogram of seconds, 10 % apart, that takes no memory however long it is fed."""

    def __init__(self) -> None:
        self.count = 0
        self.max = 0.0
        self._classes = [0] * (len(_BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        self.count += 1
        self.max = max(self.max, seconds)
        number = 0 if seconds <= _BOUNDS[0] else math.ceil(math.log(seconds / _BOUNDS[0], 1.1))
        self._classes[min(number, len(_BOUNDS))] += 1

    def percentile(self, share: float) -> float:
        """Exceeded by at most the rest; an upper bound within 10 %."""
        wanted, seen = share * self.count, 0
        for number, count in enumerate(self._classes):
            seen += count
            if count and seen >= wanted:
                return min(self.max, _BOUNDS[number]) if number < len(_BOUNDS) else self.max
        return 0.0

    def summary(self) -> dict[str, float | int]:
        """Milliseconds."""
        p50, p95 = self.percentile(0.5), self.percentile(0.95)
        return {"count": self.count, "p50": round(p50 * 1e3, 2), "p95": round(p95 * 1e3, 2), "max": round(self.max * 1e3, 2)}


def growth(series: Sequence[tuple[float, float]], early: tuple[float, float], late: tuple[float, float]) -> float | None:
    """The growth of the median from `early` to `late`, as a share. Times are in the first column of the series."""
    medians = []
    for start, end in (early, late):
        values = [value for at, value in series if start <= at < end]
        medians.append(percentile(values, 0.5))
    first, last = medians
    return None if first is None or last is None or first <= 0 else (last - first) / first

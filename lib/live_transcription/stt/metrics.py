# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Counters of a backend and what stands above it; `stt.exposition` reads them, nothing here knows it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

#: Upper bounds in seconds: fine where captions are judged (a first word at 0.8 s, a final at 1.5 s), coarse beyond.
BOUNDS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0)


class Latencies:
    """Seconds, counted by size."""

    def __init__(self) -> None:
        self.sum_s = 0.0
        self._counts = [0] * (len(BOUNDS_S) + 1)

    @property
    def count(self) -> int:
        return sum(self._counts)

    def append(self, seconds: float) -> None:
        self.sum_s += seconds
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1

    def buckets(self) -> Iterator[tuple[float, int]]:
        """Each bound, and how many were at most as long."""
        return zip(BOUNDS_S, accumulate(self._counts), strict=False)

    def add(self, other: Latencies) -> None:
        self.sum_s += other.sum_s
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]


@dataclass(slots=True, eq=False, weakref_slot=True)
class SttStatistics:
    """Plain numbers since the start, of all streams that share it. Seconds unless the name says otherwise.

    `first_token_s`: from the first audio of a connection on the wire to its first text. `flush_s`: from the end of a speech to
    its last word. `reconnects`: by cause (an error's code, `stall`, `rotation`). `dropped_s`: audio that no server ever heard.
    `replayed_s`: audio sent more than once. `ignored`: replies that made no sense, by kind.
    """

    words: int = 0
    first_token_s: Latencies = field(default_factory=Latencies)
    flush_s: Latencies = field(default_factory=Latencies)
    reconnects: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    switches: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    dropped_s: float = 0.0
    replayed_s: float = 0.0
    open_sockets: int = 0
    _closed_sockets_s: float = 0.0
    _opened_at: dict[int, float] = field(default_factory=dict)
    _next_socket: int = 0

    def socket_opened(self, now: float) -> int:
        """A connection that somebody pays for by time; give the number back to `socket_closed`."""
        self._next_socket += 1
        self._opened_at[self._next_socket] = now
        self.open_sockets += 1
        return self._next_socket

    def socket_closed(self, socket: int, now: float) -> None:
        self._closed_sockets_s += now - self._opened_at.pop(socket)
        self.open_sockets -= 1

    def socket_s(self, now: float) -> float:
        """Seconds of open sockets so far: what a serverless GPU bills, shared by the sessions of a container."""
        return self._closed_sockets_s + sum(now - opened_at for opened_at in self._opened_at.values())

    def add(self, other: SttStatistics, now: float) -> None:
        """What another has counted up to now; its open sockets count by their time alone."""
        self.words += other.words
        self.first_token_s.add(other.first_token_s)
        self.flush_s.add(other.flush_s)
        for mine, theirs in (
            (self.reconnects, other.reconnects),
            (self.failures, other.failures),
            (self.switches, other.switches),
            (self.ignored, other.ignored),
        ):
            mine.update(theirs)
        self.dropped_s += other.dropped_s
        self.replayed_s += other.replayed_s
        self._closed_sockets_s += other.socket_s(now)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Counters of a backend and what stands above it; observability reads them, nothing here knows it."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

#: Samples kept of each latency; enough for percentiles of the last minutes.
_SAMPLES = 512


def _samples() -> deque[float]:
    return deque(maxlen=_SAMPLES)


@dataclass(slots=True)
class SttStatistics:
    """Plain numbers since the start, of all streams that share it. Seconds unless the name says otherwise.

    `first_token_s`: from the first audio of a connection on the wire to its first text. `flush_s`: from the end of a speech to
    its last word. `reconnects`: by cause (an error's code, `stall`, `rotation`). `dropped_s`: audio that no server ever heard.
    `replayed_s`: audio sent more than once. `ignored`: replies that made no sense, by kind.
    """

    words: int = 0
    first_token_s: deque[float] = field(default_factory=_samples)
    flush_s: deque[float] = field(default_factory=_samples)
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

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Limits what Modal may cost: GPU minutes per day (UTC), and connections at once. Pure.

`now` is in seconds of a monotonic clock, `wall_s` in seconds since the epoch.

Modal bills GPUs, and the app sees only its own connections. So GPU time is estimated for a deployment with default settings:
eight connections share a GPU, which starts when it is requested, and stops 60 s after its last connection. Connections of
other apps to the same deployment are not counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from live_transcription.errors import SttBudgetSpent
from live_transcription.status import Condition, GpuStatus, GpuUsage

#: Connections that share a GPU, and seconds for which one stays up without a connection, unless the deployment changes them.
SESSIONS_PER_GPU = 8
LINGER_S = 60.0
#: Share of a limit above which a condition warns.
WARN = 0.8
_DAY_S = 86_400


class Socket:
    """A connection that was requested at `requested_at`, and whether it is open."""

    def __init__(self, requested_at: float) -> None:
        self.requested_at = requested_at
        self.is_open = False


class GpuBudget:
    """Today's estimated GPU time and the connections of this process, under all settings so far. Limits: 0 means no limit."""

    def __init__(self) -> None:
        self._minutes_limit = self._sockets_limit = 0
        self._usage = GpuUsage(day=0, seconds=0.0)
        self._opening = 0
        self._open = 0
        # When the GPUs without connections stop, in order.
        self._lingering: deque[float] = deque()
        self._at: float | None = None

    def limit(self, minutes_per_day: int, sockets: int) -> None:
        """Replace the limits; they apply at once."""
        self._minutes_limit, self._sockets_limit = minutes_per_day, sockets

    def restore(self, usage: GpuUsage) -> None:
        """Add what an earlier process has used. It counts if it was today."""
        seconds = self._usage.seconds if self._usage.day == usage.day else 0.0
        self._usage = GpuUsage(usage.day, usage.seconds + seconds)

    def usage(self, now: float, wall_s: float) -> GpuUsage:
        """The GPU time of today."""
        since_s = 0.0 if self._at is None else max(0.0, now - self._at)
        begins = now - since_s
        seconds = self._gpus * since_s + sum(max(0.0, min(end, now) - begins) for end in self._lingering)
        while self._lingering and self._lingering[0] <= now:
            self._lingering.popleft()
        self._at = now
        if (day := int(wall_s // _DAY_S)) != self._usage.day:
            # Only what was used since midnight counts.
            seconds *= min(1.0, (wall_s % _DAY_S) / since_s) if since_s else 0.0
            self._usage = GpuUsage(day, 0.0)
        self._usage = GpuUsage(day, self._usage.seconds + seconds)
        return self._usage

    def request(self, now: float, wall_s: float) -> Socket:
        """A connection will be opened. Raises SttBudgetSpent."""
        if (refusal := self.refusal(now, wall_s)) is not None:
            raise refusal
        self._opening += 1
        return Socket(now)

    def opened(self, socket: Socket, now: float, wall_s: float) -> None:
        """The requested connection is open."""
        used, gpus = self.usage(now, wall_s), self._gpus
        socket.is_open = True
        self._opening -= 1
        self._open += 1
        if self._gpus > gpus:
            if self._lingering:
                self._lingering.pop()
            else:
                # Another GPU was started for it.
                self._usage = GpuUsage(used.day, used.seconds + now - socket.requested_at)

    def closed(self, socket: Socket, now: float, wall_s: float) -> None:
        """The connection is closed, or could not be opened."""
        if not socket.is_open:
            self._opening -= 1
            return
        self.usage(now, wall_s)
        gpus = self._gpus
        self._open -= 1
        self._lingering.extend([now + LINGER_S] * (gpus - self._gpus))

    def spent(self, now: float, wall_s: float) -> bool:
        """Whether today's GPU minutes are used up."""
        return bool(self._minutes_limit) and self.usage(now, wall_s).seconds >= 60 * self._minutes_limit

    def refusal(self, now: float, wall_s: float) -> SttBudgetSpent | None:
        """Why no further connection may be opened now, if so."""
        if self.spent(now, wall_s):
            return SttBudgetSpent(
                "Today's {limit} GPU minutes on Modal are used up.",
                fix="Raise the limit in the settings if Modal should continue today.",
                limit=self._minutes_limit,
            )
        if self._sockets_limit and self._open + self._opening >= self._sockets_limit:
            return SttBudgetSpent(
                "All {limit} connections to Modal are open.",
                fix="Raise the limit in the settings if Modal should transcribe more speakers at once.",
                limit=self._sockets_limit,
            )
        return None

    def status(self, now: float, wall_s: float) -> GpuStatus:
        return GpuStatus(
            minutes_today=self.usage(now, wall_s).seconds / 60,
            minutes_limit=self._minutes_limit,
            sockets=self._open,
            sockets_limit=self._sockets_limit,
        )

    def conditions(self, now: float, wall_s: float, *, alone: bool) -> Iterator[Condition]:
        """The limits that are reached, or nearly. `alone`: no other engine may take over."""
        status = self.status(now, wall_s)
        values = {"used": str(int(status.minutes_today)), "limit": str(status.minutes_limit)}
        if self.spent(now, wall_s):
            yield (
                Condition.of(
                    "modal-minutes",
                    "Today's {limit} GPU minutes on Modal are used up. Captions stop until midnight (UTC), since no other "
                    "engine may be used.",
                    "Raise the limit in the settings, or allow another engine.",
                    **values,
                )
                if alone
                else Condition.of(
                    "modal-minutes",
                    "Today's {limit} GPU minutes on Modal are used up. The next engine transcribes until midnight (UTC).",
                    "Raise the limit in the settings if Modal should continue today.",
                    **values,
                )
            )
        elif status.minutes_limit and status.minutes_today >= WARN * status.minutes_limit:
            yield (
                Condition.of(
                    "modal-minutes",
                    "{used} of today's {limit} GPU minutes on Modal are used.",
                    "When they are used up, captions stop until midnight (UTC), since no other engine may be used.",
                    **values,
                )
                if alone
                else Condition.of(
                    "modal-minutes",
                    "{used} of today's {limit} GPU minutes on Modal are used.",
                    "When they are used up, the next engine transcribes until midnight (UTC).",
                    **values,
                )
            )
        values = {"used": str(status.sockets), "limit": str(status.sockets_limit)}
        if status.sockets_limit and status.sockets >= WARN * status.sockets_limit:
            yield (
                Condition.of(
                    "modal-sockets",
                    "{used} of at most {limit} connections to Modal are open.",
                    "Beyond the limit, speakers get no captions, since no other engine may be used. Raise the limit in the "
                    "settings, or allow another engine.",
                    **values,
                )
                if alone
                else Condition.of(
                    "modal-sockets",
                    "{used} of at most {limit} connections to Modal are open.",
                    "Beyond the limit, the next engine transcribes further speakers.",
                    **values,
                )
            )

    @property
    def _gpus(self) -> int:
        """The number of GPUs that the open connections need."""
        return -(-self._open // SESSIONS_PER_GPU)

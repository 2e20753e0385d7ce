# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What this process can take: watches memory and the event loop's lag for all calls, with one timer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from live_transcription.admission import Admission
from live_transcription.captions.pace import Pace
from live_transcription.load import LoadControl
from live_transcription.observability import metrics
from live_transcription.observability.memory import MemoryMeter, MemoryReading, release_free_memory
from live_transcription.status import LoadStatus, MemoryStatus, Shortage
from live_transcription.stt.audio_budget import AudioBudget, budget_within

logger = logging.getLogger(__name__)

#: Between two looks at the event loop's lag, in seconds, and how many of them go by between two readings of memory.
LAG_S = 0.25
LOOKS_PER_READING = 4
#: Between two attempts to give memory back while it is short, in seconds.
RELEASE_S = 30.0


class Capacity:
    """Admits speakers, and sets the `pace` of captions. `speakers`, `waiting`: how many there are of them now.

    `audio`: audio that waits may take its share of the memory that there is, and no more.

    Before `watch` runs there is one reading of memory, and no lag. `read` and `release` take the place of the system in tests.
    """

    def __init__(
        self,
        *,
        speakers: Callable[[], int],
        waiting: Callable[[], int],
        audio: AudioBudget | None = None,
        read: Callable[[], MemoryReading] | None = None,
        release: Callable[[], None] = release_free_memory,
    ) -> None:
        self.pace = Pace()
        self._audio = audio
        self._read = read or MemoryMeter.of_this_process().read
        self._release = release
        self._released_at = float("-inf")
        self._speakers = speakers
        self._waiting = waiting
        self._admission = Admission()
        self._load = LoadControl()
        self._told: dict[str, Shortage] = {}
        self._reading = MemoryReading(0)
        self._look_at_memory(float("-inf"))

    def limit(self, max_speakers: int, max_memory_mb: int) -> None:
        """New settings; what is short by them shows within a second."""
        self._admission.limit(max_speakers, max_memory_mb << 20)

    async def watch(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._look_at_memory(loop.time())
            if self._admission.memory_is_short and loop.time() - self._released_at >= RELEASE_S:
                self._released_at = loop.time()
                await asyncio.to_thread(self._release)
                self._look_at_memory(loop.time())
            self._tell()
            for _ in range(LOOKS_PER_READING):
                due = loop.time() + LAG_S
                await asyncio.sleep(LAG_S)
                self.pace.stretch = self._load.observe(loop.time() - due)

    def admit(self, *, returning: bool = False) -> bool:
        """As `Admission.admit`."""
        return self._admission.admit(self._speakers(), asyncio.get_running_loop().time(), returning=returning)

    def shortages(self) -> tuple[Shortage, ...]:
        return (*self._admission.shortages(self._waiting()), *self._load.shortages())

    def memory(self) -> MemoryStatus:
        bound = self._admission.tightest
        if bound is None:
            return MemoryStatus(self._reading.resident)
        return MemoryStatus(self._reading.resident, bound.used, bound.limit, bound.source.value)

    def load(self) -> LoadStatus:
        return LoadStatus(self._load.lag_s, self._load.stretch)

    def _look_at_memory(self, now: float) -> None:
        self._reading = self._read()
        self._admission.observe(self._reading, now)
        if self._audio is not None:
            self._audio.limit_bytes = budget_within(self._admission.memory_limit)

    def _tell(self) -> None:
        """Once when something becomes short, and once when it no longer is."""
        now = {shortage.code: shortage for shortage in self.shortages()}
        for code in now.keys() - self._told.keys():
            metrics.shortages.labels(code).inc()
            logger.warning("%s %s", now[code].message, now[code].fix, extra={"code": code, "waiting": self._waiting()})
        for code in self._told.keys() - now.keys():
            logger.info("No longer short of: %s", code, extra={"code": code, "speakers": self._speakers()})
        self._told = now

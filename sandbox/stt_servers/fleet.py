# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A pure model of Modal's autoscaler, with cold starts and slots: it decides when a request gets a container."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Container:
    ready_at: float
    used: int = 0
    idle_since: float = 0.0


class Fleet:
    """`slots` requests share a container; a further one starts another, up to `max_containers`; idle ones go."""

    def __init__(
        self, *, slots: int = 8, max_containers: int = 10, cold_start_s: float = 0.0, scaledown_s: float = 120.0
    ) -> None:
        self.slots = slots
        self.max_containers = max_containers
        self.cold_start_s = cold_start_s
        self.scaledown_s = scaledown_s
        self._containers: list[Container] = []
        self.started = 0

    def running(self, now: float) -> int:
        self._scale_down(now)
        return len(self._containers)

    def admit(self, now: float) -> Container | None:
        """A slot in the container that is ready first; its `ready_at` may lie ahead. None: all are full, wait for a release."""
        self._scale_down(now)
        free = [container for container in self._containers if container.used < self.slots]
        if free:
            container = min(free, key=lambda container: container.ready_at)
        elif len(self._containers) < self.max_containers:
            container = Container(now + self.cold_start_s)
            self._containers.append(container)
            self.started += 1
        else:
            return None
        container.used += 1
        return container

    def release(self, container: Container, now: float) -> None:
        container.used -= 1
        container.idle_since = max(now, container.ready_at)

    def scale_to_zero(self) -> None:
        """New requests find no container; those under way keep theirs."""
        self._containers.clear()

    def _scale_down(self, now: float) -> None:
        self._containers = [
            container for container in self._containers if container.used or now - container.idle_since < self.scaledown_s
        ]

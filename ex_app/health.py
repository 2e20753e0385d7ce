# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The health of the app: the outcomes of its engine and of Nextcloud, and the validity of its settings.

`/healthz`, the settings page, the self-test, the metrics and the setup checks all use `AppHealth`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from ex_app.engine import Engine
from ex_app.errors import NextcloudError, NextcloudRefused
from ex_app.lifecycle import Lifecycle
from ex_app.responses import dependency_state, health_status
from ex_app.settings.store import SavedSettings
from ex_app.settings.table import BY_VARIABLE
from live_transcription.errors import ConfigurationError
from live_transcription.observability.conditions import WITHOUT_DEPENDENCY
from live_transcription.observability.health import (
    DEGRADED,
    ENGINE,
    FAILED,
    NEXTCLOUD,
    OK,
    UNTESTED,
    VALUES,
    WARNING,
    Health,
    Outcomes,
)
from live_transcription.runtime.tasks import owned_task
from live_transcription.status import Dependency
from live_transcription.texts import join

#: Seconds between two checks of the HPB while no call uses it.
HPB_CHECK_S = 60.0

#: The states of the app before and between its uses.
STARTING, DISABLED = "starting", "disabled"
#: All values of `status`.
STATUSES = (OK, UNTESTED, DEGRADED, FAILED, STARTING, DISABLED)


class HpbCheck:
    """Tests the HPB in the background: soon after its settings have changed, and once a minute while no call uses it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = asyncio.Event()

    def settings_changed(self) -> None:
        self._changed.set()

    async def run(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Run until cancelled. `ready` waits until the app is enabled and knows its settings."""
        while True:
            await ready()
            self._changed.clear()
            # A check that takes longer is cancelled, as is one of settings that have changed.
            async with owned_task(self._engine.check_hpb(), "check the HPB"):
                with suppress(TimeoutError):
                    async with asyncio.timeout(HPB_CHECK_S):
                        await self._changed.wait()


class NextcloudHealth:
    """The last outcome of the app's requests to Nextcloud. `now`: seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._outcomes = Outcomes()

    def note(self, error: NextcloudError | None) -> None:
        """A request has failed, or has succeeded (None)."""
        if error is None:
            self._outcomes.succeeded(NEXTCLOUD, self._now())
        else:
            self._outcomes.failed(NEXTCLOUD, error, self._now())

    def current(self) -> Dependency:
        return self._outcomes.of(NEXTCLOUD)


class AppHealth:
    """Combines the outcomes of all dependencies with the settings."""

    def __init__(self, engine: Engine, lifecycle: Lifecycle, saved: SavedSettings, nextcloud: NextcloudHealth) -> None:
        self._engine = engine
        self._lifecycle = lifecycle
        self._saved = saved
        self.nextcloud = nextcloud

    def current(self) -> Health:
        """The health of an app that is enabled."""
        status = self._engine.status()
        return Health(
            (self._nextcloud_now(), *status.dependencies, *self.unused_engines()),
            conditions=[each for each in status.conditions if each.code in WITHOUT_DEPENDENCY],
            problem=status.problem or "",
            invalid=join(*(problem.text for problem in self.invalid_settings())),
        )

    def unused_engines(self) -> list[Dependency]:
        """The engines that an administrator has selected and begun to configure, but that cannot be used."""
        found: dict[str, Dependency] = {}
        for problem in self._problems():
            if (name := self._unused_engine(problem)) and name not in found:
                found[name] = Dependency(name, WARNING, problem.code, problem.message, problem.fix)
        return list(found.values())

    def invalid_settings(self) -> list[ConfigurationError]:
        """Problems with settings that do not prevent calls, since a default applies."""
        return [problem for problem in self._problems() if not self._unused_engine(problem)]

    def status(self, health: Health | None = None) -> str:
        """One of `STATUSES`."""
        if self._lifecycle.initialising:
            return STARTING
        if self._lifecycle.enabled is False:
            return DISABLED
        return (health or self.current()).overall

    def describe(self) -> dict[str, Any]:
        """The health as plain values for JSON: `status`, `reasons`, `explanations` by reason, and `dependencies`."""
        health = self.current()
        explanations = health.explanations
        return {
            "status": self.status(health),
            "reasons": list(explanations),
            "explanations": explanations,
            "dependencies": health.describe(),
        }

    def measure(self) -> None:
        """Set the metrics of the health."""
        health = self.current()
        current = self.status(health)
        for status in STATUSES:
            health_status.labels(status).set(status == current)
        dependency_state.clear()  # the codes change
        for each in health.dependencies:
            dependency_state.labels(each.name, each.code).set(VALUES[each.state])

    def _nextcloud_now(self) -> Dependency:
        """Nextcloud refuses an app that it has not registered or enabled: that is no failure."""
        found = self.nextcloud.current()
        expected = self._lifecycle.enabled is False or (not self._lifecycle.enabled and found.code == NextcloudRefused.code)
        return Dependency(NEXTCLOUD) if expected else found

    def _problems(self) -> list[ConfigurationError]:
        """The problems that do not prevent calls, without those of engines that are not selected."""
        settings = self._saved.current
        order = settings.engine.stt.order
        return [
            problem for problem in settings.problems if problem not in settings.blocking and _engine_of(problem) in ("", *order)
        ]

    def _unused_engine(self, problem: ConfigurationError) -> str:
        """The name of the dependency if this problem keeps a selected engine from being used, otherwise ""."""
        name = _engine_of(problem)
        return ENGINE + name if name and getattr(self._saved.current.engine.stt, name) is None else ""


def _engine_of(problem: ConfigurationError) -> str:
    """The engine that the setting belongs to, or ""."""
    setting = BY_VARIABLE.get(problem.setting)
    section, _, _ = setting.target.rpartition(".") if setting is not None else ("", "", "")
    return section.removeprefix("stt.") if section.startswith("stt.") else ""

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The health of the app: what its engine, Nextcloud and the settings amount to.

Everything that shows it asks `AppHealth`: `/healthz`, the settings page, the self-test, the metrics and the setup checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ex_app.engine import Engine
from ex_app.errors import NextcloudError
from ex_app.lifecycle import Lifecycle
from ex_app.responses import dependency_state, health_status
from ex_app.settings.store import SavedSettings
from ex_app.settings.table import BY_VARIABLE
from live_transcription.errors import ConfigurationError
from live_transcription.observability.conditions import SHORTAGES
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
from live_transcription.status import Dependency

#: The states of the app before and between its uses.
STARTING, DISABLED = "starting", "disabled"
#: Everything that `status` may be.
STATUSES = (OK, UNTESTED, DEGRADED, FAILED, STARTING, DISABLED)


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
    """Puts the health of the app together."""

    def __init__(self, engine: Engine, lifecycle: Lifecycle, saved: SavedSettings, nextcloud: NextcloudHealth) -> None:
        self._engine = engine
        self._lifecycle = lifecycle
        self._saved = saved
        self._nextcloud = nextcloud

    def current(self) -> Health:
        """The health of an app that is enabled."""
        status = self._engine.status()
        # Nextcloud does not answer the app until it has enabled it.
        nextcloud = self._nextcloud.current() if self._lifecycle.enabled else Dependency(NEXTCLOUD)
        used = {each.name for each in status.dependencies}
        half_configured = [each for each in self.unused_engines() if each.name not in used]
        return Health(
            (nextcloud, *status.dependencies, *half_configured),
            shortages=[each for each in status.conditions if each.code in SHORTAGES],
            problem=status.problem or "",
            invalid=" ".join(str(problem) for problem in self._invalid() if _engine_of(problem) not in _names(half_configured)),
        )

    def unused_engines(self) -> list[Dependency]:
        """The engines that an administrator has selected and begun to configure, but that cannot be used."""
        order = self._saved.current.engine.stt.order
        found: dict[str, Dependency] = {}
        for problem in self._invalid():
            name = _engine_of(problem)
            if name.removeprefix(ENGINE) in order and name not in found:
                found[name] = Dependency(name, WARNING, problem.code, problem.message, problem.fix)
        return list(found.values())

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

    def _invalid(self) -> list[ConfigurationError]:
        """The problems with settings that do not prevent calls."""
        settings = self._saved.current
        return [problem for problem in settings.problems if problem not in settings.blocking]


def _engine_of(problem: ConfigurationError) -> str:
    """The name of the engine's dependency if the setting belongs to an engine, otherwise ""."""
    setting = BY_VARIABLE.get(problem.setting)
    target = setting.target if setting is not None else ""
    return ENGINE + target.split(".")[1] if target.startswith("stt.") and target.count(".") > 1 else ""


def _names(dependencies: list[Dependency]) -> set[str]:
    return {each.name for each in dependencies}

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Health: the last outcome of everything that captions depend on, and what follows for the app as a whole.

The settings page (chip, status list, self-test), `/healthz`, the metrics and the setup checks all show this model. Pure: `now`
is in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from live_transcription.errors import ConfigurationError, LiveTranscriptionError, SignalingRefused
from live_transcription.status import Condition, Dependency, EngineState
from live_transcription.texts import Text, join

#: The names of the dependencies, in the order in which they are shown. The engines follow.
NEXTCLOUD, HPB, MEDIA, TURN = "nextcloud", "hpb", "media", "turn"
#: The name of an engine is this prefix and the engine's own name.
ENGINE = "engine:"

#: The states of a dependency, the best one last.
FAILED, WARNING, UNKNOWN, OK = "failed", "warning", "unknown", "ok"
#: Further states of the whole app. `UNTESTED`: nothing is known to be wrong, but the HPB or every engine is untried.
DEGRADED, UNTESTED = "degraded", "untested"
#: The value of the metric `dependency_state` by state.
VALUES = {UNKNOWN: 0, OK: 1, WARNING: 2, FAILED: 3}

#: The state of a dependency by the state of an engine (`stt.fallback.health.State`).
_OF_ENGINE = {"up": OK, "starting": WARNING, "full": WARNING, "down": FAILED, "refused": FAILED}
_NO_ENGINE = Text("No speech-to-text engine is configured or installed. Configure one in the settings.")
_NO_ENGINE_WORKS = Text("No speech-to-text engine works, so there are no captions.")


class Outcomes:
    """The last outcome by the dependency's name. A dependency that is not among them is `unknown`."""

    def __init__(self) -> None:
        self._last: dict[str, Dependency] = {}

    def of(self, name: str) -> Dependency:
        return self._last.get(name, Dependency(name))

    def engines(self) -> tuple[Dependency, ...]:
        """The outcomes of all engines, in the order of the first one of each."""
        return tuple(each for name, each in self._last.items() if name.startswith(ENGINE))

    def succeeded(self, name: str, now: float) -> None:
        self._last[name] = Dependency(name, OK, at=now)

    def failed(self, name: str, error: LiveTranscriptionError, now: float, *, state: str = FAILED) -> None:
        """`state`: `failed` or `warning`."""
        self._last[name] = Dependency(name, state, error.code, error.message, error.fix, now)

    def warned(self, name: str, condition: Condition, now: float, *, state: str = WARNING) -> None:
        """The same with the code and the texts of a condition."""
        self._last[name] = Dependency(name, state, condition.code, condition.message, condition.fix, now)

    def confirm(self, name: str, now: float) -> None:
        """The last outcome has been seen again."""
        if self.of(name).state != UNKNOWN:
            self._last[name] = replace(self._last[name], at=now)

    def forget(self, *names: str) -> None:
        """The outcomes say nothing any more, since a setting has changed."""
        for name in names:
            self._last.pop(name, None)

    def observe_engines(self, states: Iterable[EngineState], now: float) -> None:
        """Take the states of the engines in use. An engine that has had no stream for a while keeps its last outcome.

        But that it was starting, or full, says nothing any more.
        """
        known = {each.name: each for each in self.engines()}
        self.forget(*known)
        for engine in states:
            name = ENGINE + engine.name
            before = known.get(name, Dependency(name))
            state = _OF_ENGINE.get(engine.state)
            if state is None:
                self._last[name] = Dependency(name) if before.state == WARNING else before
                continue
            texts = (engine.code, engine.problem, engine.fix) if state != OK else ()
            outcome = Dependency(name, state, *texts)
            self._last[name] = before if replace(outcome, at=before.at) == before else replace(outcome, at=now)


@dataclass(frozen=True, slots=True)
class Health:
    """The health of the whole app.

    `conditions`: the current ones that are no outcome of a dependency, such as a limit of the machine. `problem`: why no call
    can be joined with the current settings; `invalid`: which settings are invalid, so that their defaults apply. Both "" if
    the settings are right.
    """

    dependencies: Sequence[Dependency]
    conditions: Sequence[Condition] = ()
    problem: str = ""
    invalid: str = ""

    @property
    def overall(self) -> str:
        """`failed`: no call gets captions. `degraded`: something is wrong, but captions work. `untested`, `ok`."""
        engines = self._engines()
        essential = [each.state for each in self.dependencies if each.name in (HPB, MEDIA)]
        if self.problem or FAILED in essential or not any(map(_may_work, engines)):
            return FAILED
        if self.invalid or self.conditions or any(each.state in (WARNING, FAILED) for each in self.dependencies):
            return DEGRADED
        hpb = [each.state for each in self.dependencies if each.name == HPB]
        return OK if OK in hpb and any(each.state == OK for each in engines) else UNTESTED

    @property
    def explanations(self) -> dict[str, str]:
        """Why the app is not `ok`: a text for each reason.

        Reasons: `configuration`, `speech-to-text` (no engine works), `engine:<name>` (this engine does not, but another one
        may), `nextcloud` (the saved settings cannot be read), `hpb-refused`, `hpb-unreachable`, `media-path`, `turn-refused`,
        and the codes in `observability.conditions.WITHOUT_DEPENDENCY`.
        """
        found: dict[str, str] = {}
        if self.problem or self.invalid:
            found["configuration"] = self.problem or self.invalid
        engines = self._engines()
        if not engines:
            found["speech-to-text"] = _NO_ENGINE
        elif not any(map(_may_work, engines)):
            found["speech-to-text"] = join(_NO_ENGINE_WORKS, *map(_text, engines))
        for each in self.dependencies:
            if each.state in (WARNING, FAILED):
                reason = _reason(each)
                if not (reason.startswith(ENGINE) and "speech-to-text" in found):
                    found[reason] = _text(each)
        return found | {each.code: join(each.message, each.fix) for each in self.conditions}

    def describe(self) -> list[dict[str, Any]]:
        """The dependencies as plain values for JSON."""
        return [asdict(each) for each in self.dependencies]

    def _engines(self) -> list[Dependency]:
        return [each for each in self.dependencies if each.name.startswith(ENGINE)]


def _reason(dependency: Dependency) -> str:
    match dependency.name:
        case "hpb":
            return "hpb-refused" if dependency.code == SignalingRefused.code else "hpb-unreachable"
        case "media":
            return "media-path"
        case "turn":
            return "turn-refused"
        case name:
            return name


def _may_work(engine: Dependency) -> bool:
    """An engine that is not configured completely is a warning where another one works, and no engine otherwise."""
    return engine.state != FAILED and engine.code != ConfigurationError.code


def _text(dependency: Dependency) -> Text:
    return join(dependency.cause, dependency.fix)

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Runs of the checks that an administrator starts. The page polls their steps while they run.

It polls because AppAPI's proxy passes an answer on only when it is complete, so that nothing can be streamed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ex_app.background import Background
from ex_app.errors import INTERNAL_ERROR, NotReady
from live_transcription.errors import LiveTranscriptionError, main_error
from live_transcription.status import Dependency
from live_transcription.texts import Text

logger = logging.getLogger(__name__)

#: Limits of concurrent and of remembered runs.
MAX_RUNNING, MAX_REMEMBERED = 4, 20
#: Longest time in seconds for one check; a cold start takes up to three minutes.
CHECK_S = 400.0
_MAX_STEPS = 60


@dataclass(slots=True)
class Step:
    """One step of a check. `state`: `running`, `ok`, `warning` or `failed`.

    `expected_s`: how long the step may take, for a progress bar; 0 for no bar.
    """

    id: str
    title: str
    now: Callable[[], float] = field(repr=False)
    began_at: float
    expected_s: float = 0.0
    state: str = "running"
    detail: str = ""
    code: str = ""
    message: str = ""
    fix: str = ""
    ended_at: float | None = None

    def succeed(self, detail: str = "") -> None:
        self.detail = detail or self.detail
        self._end("ok")

    def warn(self, message: str, fix: str) -> None:
        self.message, self.fix = message, fix
        self._end("warning")

    def fail(self, error: Exception) -> None:
        if isinstance(error, ExceptionGroup):
            error = main_error(error)
        if isinstance(error, LiveTranscriptionError):
            self.code, self.message, self.fix = error.code, error.message, error.fix
        else:
            self.code, self.message = "internal", INTERNAL_ERROR
            logger.error("A check failed unexpectedly", exc_info=error)
        self._end("failed")

    def fail_with(self, dependency: Dependency) -> None:
        """Fail with the last outcome of a dependency."""
        self.code, self.message, self.fix = dependency.code, dependency.cause, dependency.fix
        self._end("failed")

    def downgrade(self) -> None:
        """A step that has failed is only a warning, since captions work without it."""
        if self.state == "failed":
            self.state = "warning"

    def _end(self, state: str) -> None:
        self.state = state
        self.ended_at = self.now()

    def describe(self) -> dict[str, Any]:
        seconds = (self.now() if self.ended_at is None else self.ended_at) - self.began_at
        shown = ("id", "title", "state", "detail", "code", "message", "fix", "expected_s")
        return {name: getattr(self, name) for name in shown} | {"seconds": round(seconds, 1)}


class Run:
    """Checks that run in sequence. `check` is the name of the current one, and each step belongs to one."""

    def __init__(self, kind: str, now: Callable[[], float]) -> None:
        self.id = secrets.token_hex(12)
        self.kind = kind
        self.done = False
        self._now = now
        self._check = kind
        self._steps: list[tuple[str, Step]] = []

    def enter(self, check: str) -> None:
        self._check = check

    def begin(self, id: str, title: str, *, expected_s: float = 0.0) -> Step:  # noqa: A002
        step = Step(id, title, self._now, self._now(), expected_s)
        if len(self._steps) < _MAX_STEPS:
            self._steps.append((self._check, step))
        return step

    @contextlib.contextmanager
    def step(self, id: str, title: str) -> Iterator[Step]:  # noqa: A002
        """A step that succeeds when the block ends, and fails with any exception of the block."""
        with self.sequence(id, title) as steps:
            yield steps.current

    @contextlib.contextmanager
    def sequence(self, id: str, title: str, *, expected_s: float = 0.0) -> Iterator[Sequence]:  # noqa: A002
        """Like `step`, but the block can end this step and begin the next one."""
        steps = Sequence(self, self.begin(id, title, expected_s=expected_s))
        try:
            yield steps
        except Exception as error:
            steps.current.fail(error)
            raise
        if steps.current.state == "running":
            steps.current.succeed()

    def finish(self, error: Exception | None) -> None:
        """End all steps of the current check. `error` is shown unless one of its steps has failed already."""
        steps = [step for check, step in self._steps if check == self._check]
        if error is not None and not any(step.state == "failed" for step in steps):
            running = next((step for step in steps if step.state == "running"), None)
            (running or self.begin(f"{self._check}.failed", Text("The check"))).fail(error)
        for step in steps:
            if step.state == "running":
                step.succeed()

    def describe(self) -> dict[str, Any]:
        """`failing`: the first check that failed, or "". `state`: as for a step."""
        states = {step.state for _, step in self._steps}
        worst = next((state for state in ("failed", "warning") if state in states), "ok")
        return {
            "id": self.id,
            "kind": self.kind,
            "done": self.done,
            "state": worst if self.done else "running",
            "failing": next((check for check, step in self._steps if step.state == "failed"), ""),
            "steps": [{"check": check, **step.describe()} for check, step in self._steps],
        }


@dataclass(slots=True)
class Sequence:
    """Steps that follow one another; see `Run.sequence`."""

    run: Run
    current: Step

    def next(self, id: str, title: str) -> None:  # noqa: A002
        """The current step has succeeded, and another one begins."""
        self.current.succeed()
        self.current = self.run.begin(id, title)


class Runs:
    """Runs checks in the background."""

    def __init__(self, background: Background, now: Callable[[], float] = time.monotonic) -> None:
        self._background = background
        self._now = now
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def get(self, id: str) -> Run | None:  # noqa: A002
        return self._runs.get(id)

    def launch(self, kind: str, checks: tuple[str, ...], work: Callable[[str, Run], Awaitable[None]]) -> Run:
        """Start a run of all `checks`, or return the run of this kind that is not done. A failed check does not stop it.

        Raises NotReady if too many run.
        """
        for run in self._runs.values():
            if run.kind == kind and not run.done:
                return run
        if not self._background.is_open or sum(not run.done for run in self._runs.values()) >= MAX_RUNNING:
            raise NotReady("Too many checks are running.", fix="Try again in a moment.")
        run = Run(kind, self._now)
        self._runs[run.id] = run
        # The page still follows those that run, and they count towards the limit above.
        for old in [each.id for each in self._runs.values() if each.done][: max(0, len(self._runs) - MAX_REMEMBERED)]:
            del self._runs[old]
        self._background.run(f"check {run.id}", partial(_work, run, checks, work))
        return run


async def _work(run: Run, checks: tuple[str, ...], work: Callable[[str, Run], Awaitable[None]]) -> None:
    try:
        for check in checks:
            run.enter(check)
            failure: Exception | None = None
            try:
                async with asyncio.timeout(CHECK_S):
                    await work(check, run)
            except TimeoutError:
                failure = NotReady("The check took too long and was stopped.", fix="Check whether the server is overloaded.")
            except Exception as error:  # noqa: BLE001  shown to the administrator
                failure = error
            run.finish(failure)
    finally:
        run.done = True

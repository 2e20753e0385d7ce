# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A test that an administrator started, step by step, as the page asks for it again and again while it runs.

Polled rather than streamed: AppAPI's proxy passes an answer on only when it is complete.
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
from typing import Any

from ex_app.errors import NotReady
from live_transcription.errors import LiveTranscriptionError, main_error

logger = logging.getLogger(__name__)

#: Tests at once, and tests remembered.
MAX_RUNNING, MAX_REMEMBERED = 4, 20
#: Longest time in seconds for one test; a cold start takes up to three minutes.
TRIAL_S = 400.0
_MAX_STEPS = 60


@dataclass(slots=True)
class Step:
    """`state`: `running`, `ok`, `warning` or `failed`. `expected_s`: how long it may well take, for a bar; 0: no bar."""

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

    def warn(self, message: str, fix: str, *, detail: str = "") -> None:
        self.message, self.fix, self.detail = message, fix, detail or self.detail
        self._end("warning")

    def fail(self, error: Exception) -> None:
        if isinstance(error, ExceptionGroup):
            error = main_error(error)
        if isinstance(error, LiveTranscriptionError):
            self.code, self.message, self.fix = error.code, error.message, error.fix
        else:
            self.code, self.message, self.fix = "internal", "Internal error.", "The app's log says more."
            logger.error("A test failed unexpectedly", exc_info=error)
        self._end("failed")

    def _end(self, state: str) -> None:
        self.state = state
        self.ended_at = self.now()

    def describe(self) -> dict[str, Any]:
        seconds = (self.now() if self.ended_at is None else self.ended_at) - self.began_at
        return {
            "id": self.id,
            "title": self.title,
            "state": self.state,
            "detail": self.detail,
            "code": self.code,
            "message": self.message,
            "fix": self.fix,
            "seconds": round(seconds, 1),
            "expected_s": self.expected_s,
        }


class Trial:
    """`hop` is the name of what is being tried now; steps remember it."""

    def __init__(self, kind: str, now: Callable[[], float]) -> None:
        self.id = secrets.token_hex(12)
        self.kind = kind
        self.done = False
        self._now = now
        self._hop = kind
        self._steps: list[tuple[str, Step]] = []

    def enter(self, hop: str) -> None:
        self._hop = hop

    def begin(self, id: str, title: str, *, expected_s: float = 0.0) -> Step:  # noqa: A002
        step = Step(id, title, self._now, self._now(), expected_s)
        if len(self._steps) < _MAX_STEPS:
            self._steps.append((self._hop, step))
        return step

    @contextlib.contextmanager
    def step(self, id: str, title: str) -> Iterator[Step]:  # noqa: A002
        """Succeeds with the block, fails with what the block raises."""
        step = self.begin(id, title)
        try:
            yield step
        except Exception as error:
            step.fail(error)
            raise
        if step.state == "running":
            step.succeed()

    def finish(self, error: Exception | None) -> None:
        """No step goes on; `error` is told if no step of its hop told it."""
        told = any(hop == self._hop and step.state == "failed" for hop, step in self._steps)
        if error is not None and not told:
            running = next((step for hop, step in self._steps if hop == self._hop and step.state == "running"), None)
            (running or self.begin(f"{self._hop}.failed", "The test")).fail(error)
        for _, step in self._steps:
            if step.state == "running":
                step.succeed()

    def describe(self) -> dict[str, Any]:
        """`failing`: the first hop that failed, "" if none did; `state` as of a step."""
        states = {step.state for _, step in self._steps}
        worst = next((state for state in ("failed", "warning") if state in states), "ok")
        return {
            "id": self.id,
            "kind": self.kind,
            "done": self.done,
            "state": worst if self.done else "running",
            "failing": next((hop for hop, step in self._steps if step.state == "failed"), ""),
            "steps": [{"hop": hop, **step.describe()} for hop, step in self._steps],
        }


class Trials:
    """Runs tests in the background; `start` with the TaskGroup that owns them."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tasks: asyncio.TaskGroup | None = None
        self._trials: OrderedDict[str, Trial] = OrderedDict()
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks

    def stop(self) -> None:
        self._tasks = None
        for task in self._running.values():
            task.cancel()

    def get(self, id: str) -> Trial | None:  # noqa: A002
        return self._trials.get(id)

    def launch(self, kind: str, hops: tuple[str, ...], work: Callable[[str, Trial], Awaitable[None]]) -> Trial:
        """One trial of all `hops`; one that fails does not keep the next from being tried. One of a kind at a time."""
        for trial in self._trials.values():
            if trial.kind == kind and not trial.done:
                return trial
        if self._tasks is None or len(self._running) >= MAX_RUNNING:
            raise NotReady("Too many tests are under way.", fix="Try again in a moment.")
        trial = Trial(kind, self._now)
        self._trials[trial.id] = trial
        while len(self._trials) > MAX_REMEMBERED:
            self._trials.popitem(last=False)
        task = self._tasks.create_task(self._run(trial, hops, work), name=f"test {kind}")
        self._running[trial.id] = task
        task.add_done_callback(lambda _: self._running.pop(trial.id, None))
        return trial

    async def _run(self, trial: Trial, hops: tuple[str, ...], work: Callable[[str, Trial], Awaitable[None]]) -> None:
        try:
            for hop in hops:
                trial.enter(hop)
                try:
                    async with asyncio.timeout(TRIAL_S):
                        await work(hop, trial)
                except TimeoutError:
                    trial.finish(NotReady("It took too long and was given up.", fix="Check whether the server is overloaded."))
                except Exception as error:  # noqa: BLE001  told to the administrator who waits for the outcome
                    trial.finish(error)
                else:
                    trial.finish(None)
        finally:
            trial.done = True

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The checks, their results, and what to do: printed during the test, and as a table at its end."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

_WIDTH = 118


class Verdict(StrEnum):
    PASSED = "passed"
    SLOW = "slow"
    FAILED = "FAILED"
    SKIPPED = "skipped"


class CheckFailed(Exception):
    """`why`: what was seen. `fix`: what to do."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.why = why
        self.fix = fix


class CannotCheck(Exception):
    """Not a failure: this cannot be tried here; the message says why."""


class CannotGoOn(Exception):
    """Nothing of what follows makes sense without what has just failed."""


@dataclass(slots=True)
class Check:
    """One row. `seen`: a figure or a remark, or why it failed."""

    title: str
    verdict: Verdict = Verdict.PASSED
    seen: str = ""
    fix: str = ""

    def slow(self, seen: str, fix: str) -> None:
        self.verdict, self.seen, self.fix = Verdict.SLOW, seen, fix


class Checklist:
    """`say` gets each line; `titles` are all checks in their order, so that what was never reached is shown, too."""

    def __init__(self, say: Callable[[str], None], titles: tuple[str, ...]) -> None:
        self.say = say
        self.checks: list[Check] = []
        self._titles = titles

    @contextmanager
    def check(self, title: str, *, needed: bool = False) -> Iterator[Check]:
        """Passes with the block. `needed`: raises CannotGoOn when it fails."""
        check = Check(title)
        self.checks.append(check)
        self.say(f"==> {title}")
        try:
            yield check
        except CheckFailed as failed:
            check.verdict, check.seen, check.fix = Verdict.FAILED, failed.why, failed.fix
        except CannotCheck as cannot:
            check.verdict, check.seen = Verdict.SKIPPED, str(cannot)
        self.say(f"    {check.verdict}{f': {check.seen}' if check.seen else ''}")
        if needed and check.verdict is Verdict.FAILED:
            raise CannotGoOn

    @property
    def failed(self) -> bool:
        return any(check.verdict is Verdict.FAILED for check in self.checks)

    def table(self) -> list[str]:
        """One row per check, with what to do below those that did not pass."""
        reached = {check.title for check in self.checks}
        rows = self.checks + [
            Check(title, Verdict.SKIPPED, "not reached") for title in self._titles if title not in reached and self.failed
        ]
        width = max(len(check.title) for check in rows)
        lines = ["", f"{'check':<{width}}  result   what was seen", f"{'-' * width}  -------  {'-' * (_WIDTH - width - 11)}"]
        for check in rows:
            seen = textwrap.wrap(check.seen, _WIDTH - width - 11, break_on_hyphens=False) or [""]
            fix = textwrap.wrap(f"-> {check.fix}", _WIDTH - width - 11, break_on_hyphens=False) if check.fix else []
            lines.append(f"{check.title:<{width}}  {check.verdict:<7}  {seen[0]}".rstrip())
            lines += [f"{'':<{width}}           {line}" for line in (*seen[1:], *fix)]
        passed = sum(check.verdict in (Verdict.PASSED, Verdict.SLOW) for check in rows)
        failed = sum(check.verdict is Verdict.FAILED for check in rows)
        skipped = len(rows) - passed - failed
        return [*lines, "", f"{passed} passed, {failed} failed, {skipped} skipped"]

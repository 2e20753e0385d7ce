# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The current settings: read from Nextcloud repeatedly, saved there, and applied without a restart.

While Nextcloud is slow, down, or answers garbage, the last good values apply.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from ex_app.errors import NextcloudError, SettingsRefused
from ex_app.nextcloud.gateway import NextcloudGateway
from ex_app.settings.fields import BY_KEY, BY_VARIABLE, FIELDS, RETIRED, key_of
from ex_app.settings.read import Settings, read_settings
from live_transcription.errors import ConfigurationError

logger = logging.getLogger(__name__)

#: Between two looks at the saved values, in seconds, so that `occ app_api:app:config:set` works.
REFRESH_S = 60.0
#: Waits in seconds until the saved values have been read for the first time.
FIRST_TRIES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: Longest time in seconds for one look.
READ_S = 10.0
#: Longest value that is saved; addresses and keys are far shorter.
MAX_VALUE = 4096


class SavedSettings:
    """`on_change` is called with the settings whenever they have changed, and never concurrently."""

    def __init__(
        self,
        environment: Mapping[str, str],
        nextcloud: NextcloudGateway,
        on_change: Callable[[Settings], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.current = read_settings(environment)
        #: Why the last look at the saved values failed; None while all is well, or nothing was tried.
        self.trouble: NextcloudError | None = None
        #: Set once the saved values are known.
        self.known = asyncio.Event()
        self._environment = environment
        self._nextcloud = nextcloud
        self._on_change = on_change
        self._sleep = sleep
        self._saved: dict[str, str] = {}
        self._retired_reported: set[str] = set()
        self._busy = asyncio.Lock()
        self._soon = asyncio.Event()

    async def run(self) -> None:
        """Read the saved values, soon at first, then every `REFRESH_S`. Ends with its task."""
        for delay in itertools.chain(FIRST_TRIES_S, itertools.repeat(REFRESH_S)):
            try:
                await self.refresh()
            except NextcloudError as error:
                logger.log(
                    logging.WARNING if not self.known.is_set() else logging.INFO,
                    "The saved settings could not be read. The last known ones apply. %s",
                    error,
                )
            await self._pause(REFRESH_S if self.known.is_set() else delay)

    def look_soon(self) -> None:
        """Nextcloud listens to the app from now on."""
        self._soon.set()

    async def _pause(self, delay: float) -> None:
        self._soon.clear()
        waits = [asyncio.ensure_future(self._sleep(delay)), asyncio.ensure_future(self._soon.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def refresh(self) -> None:
        """Read the saved values once and put them into effect. Raises NextcloudError, and then nothing has changed."""
        async with self._busy:
            await self._read()

    async def save(self, changes: Mapping[str, str | None]) -> None:
        """Save values by key; None takes the saved value away, so that the environment or the default counts.

        Raises SettingsRefused with a message per field, and then nothing is saved; NextcloudError.
        """
        self._check(changes)
        async with self._busy:
            await self._read()
            self._check_together(changes)
            for key, value in changes.items():
                if value is not None:
                    await self._nextcloud.write_value(key, value.strip(), secret=BY_KEY[key].secret)
            if gone := [key for key, value in changes.items() if value is None]:
                await self._nextcloud.delete_values(gone)
            self._take({key: text for key, text in {**self._saved, **changes}.items() if text is not None})

    def describe(self) -> dict[str, dict[str, Any]]:
        """Each setting by key: `value` in force as text (never of a secret, which has `set`), `source`, and `problem` if any.

        `source`: `saved`, `environment` or `default`.
        """
        problems = {problem.setting: _at_its_field(problem) for problem in reversed(self.current.problems)}
        described: dict[str, dict[str, Any]] = {}
        for entry in FIELDS:
            saved, given = self._saved.get(entry.key, "").strip(), self._environment.get(entry.variable, "").strip()
            if entry.key == "lt_skip_cert_verify":
                given = given or self._environment.get("SKIP_CERT_VERIFY", "").strip()
            source = "saved" if saved else "environment" if given else "default"
            described[entry.key] = {"source": source, "problem": problems.get(entry.variable, "")}
            if entry.secret:
                described[entry.key]["set"] = bool(saved or given)
            else:
                described[entry.key]["value"] = _shown(entry.kind, saved or given or entry.default)
        return described

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(READ_S):
                saved = await self._nextcloud.read_values([*(entry.key for entry in FIELDS), *map(key_of, RETIRED)])
        except TimeoutError:
            self.trouble = NextcloudError("Nextcloud takes too long to tell the saved settings.")
            raise self.trouble from None
        except NextcloudError as error:
            self.trouble = error
            raise
        self.trouble = None
        self.known.set()
        self._report_retired(saved)
        self._take({key: text for key, text in saved.items() if key in BY_KEY})

    def _report_retired(self, saved: Mapping[str, str]) -> None:
        """Log once that a setting of an earlier version no longer has an effect."""
        for variable, reason in RETIRED.items():
            if (variable in self._environment or key_of(variable) in saved) and variable not in self._retired_reported:
                self._retired_reported.add(variable)
                logger.info("%s no longer has an effect. %s", variable, reason, extra={"setting": variable})

    def _take(self, saved: Mapping[str, str]) -> None:
        self._saved = {key: value for key, value in saved.items() if len(value) <= MAX_VALUE}
        settings = read_settings(self._environment, self._saved)
        if not _same(settings, self.current):
            for notice in settings.notices:
                if notice not in self.current.notices:
                    logger.warning("%s", notice)
            self.current = settings
            for problem in settings.problems:
                logger.warning("%s", problem, extra={"setting": problem.setting})
            self._on_change(settings)

    def _check(self, changes: Mapping[str, str | None]) -> None:
        wrong: dict[str, str] = {}
        for key, value in changes.items():
            entry = BY_KEY.get(key)
            if entry is None:
                wrong[key[:64]] = "there is no such setting"
            elif value is not None and not value.strip():
                wrong[key] = "it is empty"
            elif value is not None and len(value) > MAX_VALUE:
                wrong[key] = f"it is longer than {MAX_VALUE} characters"
            elif value is not None:
                try:
                    entry.parse(value.strip())
                except ValueError as error:
                    wrong[key] = str(error)
        if wrong:
            raise SettingsRefused(wrong)

    def _check_together(self, changes: Mapping[str, str | None]) -> None:
        """Values that are well by themselves may not fit each other; only new trouble is refused, the rest is shown."""
        after = read_settings(
            self._environment, {key: text for key, text in {**self._saved, **changes}.items() if text is not None}
        )
        before = {str(problem) for problem in self.current.problems}
        wrong = {
            BY_VARIABLE[problem.setting].key: str(problem)
            for problem in after.problems
            if str(problem) not in before
            and problem.setting in BY_VARIABLE
            and changes.get(BY_VARIABLE[problem.setting].key) is not None
        }
        if wrong:
            raise SettingsRefused(wrong)


def _at_its_field(problem: ConfigurationError) -> str:
    """Beside the field nobody needs the variable's name."""
    text = str(problem)
    for beginning in ("is not set. ", "is malformed: "):
        text = text.removeprefix(f"{problem.setting} {beginning}")
    return text


def _same(one: Settings, other: Settings) -> bool:
    """Errors are never equal; what they say is."""

    def told(settings: Settings) -> tuple[list[str], list[str]]:
        return [str(problem) for problem in settings.problems], [str(problem) for problem in settings.blocking]

    return told(one) == told(other) and replace(one, problems=(), blocking=()) == replace(other, problems=(), blocking=())


def _shown(kind: str, text: str) -> str:
    if kind == "switch":
        return "true" if text.lower() in ("1", "true", "yes", "on") else "false"
    return text

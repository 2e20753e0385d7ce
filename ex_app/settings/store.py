# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The current settings: read from Nextcloud once a minute, saved there, and applied without a restart.

While Nextcloud does not answer, or not properly, the last known values apply.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from ex_app.errors import NextcloudError, SettingsRefused
from ex_app.nextcloud.gateway import NextcloudGateway
from ex_app.settings.parsers import Malformed
from ex_app.settings.read import MALFORMED, MISSING, Settings, read_settings
from ex_app.settings.table import BY_KEY, BY_VARIABLE, ON_PAGE, RETIRED, Setting, key_of
from live_transcription.errors import ConfigurationError
from live_transcription.texts import Text

logger = logging.getLogger(__name__)

#: Seconds between two reads of the saved values, so that `occ app_api:app:config:set` takes effect.
REFRESH_S = 60.0
#: Delays in seconds until the saved values have been read for the first time.
FIRST_TRIES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: Longest time in seconds for one read.
READ_S = 10.0
#: Longest value that can be saved, in characters; addresses and keys are far shorter.
MAX_VALUE = 4096
#: Every key that this version or an earlier one may have saved.
_KEYS = (*BY_KEY, *map(key_of, RETIRED))


class SavedSettings:
    """The environment's settings and those that an administrator saved in Nextcloud.

    `on_change` is called with the settings whenever they have changed, and never concurrently. `on_read` is called after each
    attempt to read the saved values, with the error if it failed.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        nextcloud: NextcloudGateway,
        on_change: Callable[[Settings], None],
        *,
        on_read: Callable[[NextcloudError | None], None] = lambda _: None,
    ) -> None:
        self.current = read_settings(environment)
        #: Why the last read of the saved values failed; None if it succeeded, or before the first one.
        self.last_error: NextcloudError | None = None
        #: Set once the saved values are known.
        self.known = asyncio.Event()
        self._environment = environment
        self._nextcloud = nextcloud
        self._on_change = on_change
        self._on_read = on_read
        self._saved: dict[str, str] = {}
        self._retired_reported: set[str] = set()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Read the saved values until cancelled: soon at first, then every `REFRESH_S`."""
        for delay in itertools.chain(FIRST_TRIES_S, itertools.repeat(REFRESH_S)):
            # Before the request, so that `refresh_soon` during it is not lost: Nextcloud may have refused this one already.
            self._wake.clear()
            try:
                await self.refresh()
            except NextcloudError as error:
                level = logging.INFO if self.known.is_set() else logging.WARNING
                logger.log(level, "Could not read the saved settings. The last known ones apply. %s", error)
            await self._pause(REFRESH_S if self.known.is_set() else delay)

    def refresh_soon(self) -> None:
        """Read the saved values without delay: Nextcloud answers the app from now on."""
        self._wake.set()

    async def _pause(self, delay: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()

    async def refresh(self) -> None:
        """Read the saved values once and apply them. Raises NextcloudError; then nothing has changed."""
        async with self._lock:
            await self._read()

    async def save(self, changes: Mapping[str, str | None]) -> None:
        """Save values by key. None removes the saved value, so that the environment or the default applies.

        Raises SettingsRefused with a message per setting, and NextcloudError. In the first case nothing is saved.
        """
        self._check(changes)
        async with self._lock:
            await self._read()
            self._check_together(changes)
            for key, value in changes.items():
                if value is not None:
                    await self._nextcloud.write_value(key, value.strip(), secret=BY_KEY[key].secret)
            if removed := [key for key, value in changes.items() if value is None]:
                await self._nextcloud.delete_values(removed)
            self._apply(self._after(changes))

    async def forget(self) -> None:
        """Delete all saved values, also those of retired settings, so that the environment and the defaults apply.

        Raises NextcloudError.
        """
        async with self._lock:
            await self._nextcloud.delete_values(_KEYS)
            self._apply({})

    def describe(self) -> dict[str, dict[str, Any]]:
        """Each setting by key: `source` (`saved`, `environment` or `default`), `problem`, and `value` as text.

        A secret has `set` instead of `value`.
        """
        problems = {
            problem.setting: _beside_the_field(problem)
            for problem in reversed(self.current.problems)
            # Nothing is wrong with a field before something was entered. The banner names what is missing.
            if not (problem in self.current.blocking and problem.template == MISSING)
        }
        return {setting.key: self._describe(setting) | {"problem": problems.get(setting.variable, "")} for setting in ON_PAGE}

    def _describe(self, setting: Setting) -> dict[str, Any]:
        saved = self._saved.get(setting.key, "").strip()
        names = filter(None, (setting.variable, setting.alias))
        given = next(filter(None, (self._environment.get(name, "").strip() for name in names)), "")
        source = "saved" if saved else "environment" if given else "default"
        if setting.secret:
            return {"source": source, "set": source != "default"}
        text = saved or given or setting.default
        if setting.kind == "switch":
            text = str(text.lower() in ("1", "true", "yes", "on")).lower()
        return {"source": source, "value": text}

    def _after(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        """The saved values with these changes."""
        return {key: text for key, text in {**self._saved, **changes}.items() if text is not None}

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(READ_S):
                saved = await self._nextcloud.read_values(_KEYS)
        except TimeoutError:
            late = NextcloudError(
                "Nextcloud did not return the saved settings in time.", fix="Check whether the server is overloaded."
            )
            self._note(late)
            raise late from None
        except NextcloudError as error:
            self._note(error)
            raise
        self._note(None)
        self.known.set()
        self._report_retired(saved)
        self._apply({key: text for key, text in saved.items() if key in BY_KEY})

    def _note(self, error: NextcloudError | None) -> None:
        self.last_error = error
        self._on_read(error)

    def _report_retired(self, saved: Mapping[str, str]) -> None:
        """Log once that a setting of an earlier version no longer has an effect."""
        for variable, reason in RETIRED.items():
            if (variable in self._environment or key_of(variable) in saved) and variable not in self._retired_reported:
                self._retired_reported.add(variable)
                logger.info("%s no longer has an effect. %s", variable, reason, extra={"setting": variable})

    def _apply(self, saved: Mapping[str, str]) -> None:
        self._saved = {key: value for key, value in saved.items() if len(value) <= MAX_VALUE}
        before, settings = self.current, read_settings(self._environment, self._saved)
        if settings == before and _texts(settings.problems) == _texts(before.problems):
            return
        for notice in settings.notices:
            if notice not in before.notices:
                logger.warning("%s", notice)
        self.current = settings
        for problem in settings.problems:
            logger.warning("%s", problem, extra={"setting": problem.setting})
        self._on_change(settings)

    def _check(self, changes: Mapping[str, str | None]) -> None:
        """Raise SettingsRefused if a value is invalid by itself."""
        wrong: dict[str, Text] = {}
        for key, value in changes.items():
            setting = BY_KEY.get(key)
            if setting is None:
                wrong[key[:64]] = Text("There is no such setting.")
            elif value is not None and not value.strip():
                wrong[key] = Text("It is empty.")
            elif value is not None and len(value) > MAX_VALUE:
                wrong[key] = Text("It is longer than {limit} characters.", limit=MAX_VALUE)
            elif value is not None:
                try:
                    setting.parse(value.strip())
                except Malformed as error:
                    wrong[key] = error.text
        if wrong:
            raise SettingsRefused(wrong)

    def _check_together(self, changes: Mapping[str, str | None]) -> None:
        """Raise SettingsRefused if a changed value does not fit another one. A problem that existed before is no reason."""
        before = _texts(self.current.problems)
        wrong: dict[str, Text] = {}
        for problem in read_settings(self._environment, self._after(changes)).problems:
            setting = BY_VARIABLE.get(problem.setting)
            if setting is not None and changes.get(setting.key) is not None and str(problem) not in before:
                wrong[setting.key] = _beside_the_field(problem)
        if wrong:
            raise SettingsRefused(wrong)


def _beside_the_field(problem: ConfigurationError) -> Text:
    """The text of a problem as the page shows it next to the field: what to enter, if the value alone is at fault."""
    return problem.fix if problem.template in (MISSING, MALFORMED) else problem.text


def _texts(problems: Iterable[ConfigurationError]) -> list[str]:
    return [str(problem) for problem in problems]

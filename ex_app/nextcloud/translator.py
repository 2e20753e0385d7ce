# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Translates captions with Nextcloud's task processing.

Each text is a task, which a provider in Nextcloud works on. Nextcloud reports the end of a task to our webhook; where that does
not work, the task is polled. Nextcloud would keep a task for a week, so it is deleted as soon as it is read.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ex_app.errors import NextcloudError
from ex_app.nextcloud.gateway import NextcloudGateway, NoTaskProvider
from ex_app.nextcloud.tasks import TRANSLATE, Pairs, TaskState, parse_pairs, parse_task
from live_transcription.errors import TranslationError
from live_transcription.types import TranslationLanguages

logger = logging.getLogger(__name__)

#: Where Nextcloud reports the end of a task.
WEBHOOK = "/translation/task"
#: Seconds between two questions for the provider's languages, and after a failure.
LANGUAGES_S, LANGUAGES_AGAIN_S = 300.0, 30.0
#: Seconds from scheduling a task to its first poll, growing to the second value: with and without a working webhook.
POLL_S, WEBHOOK_POLL_S = (0.25, 1.0), (1.5, 2.0)
#: Seconds until a deletion that failed is tried once more.
DELETE_AGAIN_S = 5.0
#: Seconds to delete the tasks when the app stops.
STOP_S = 2.0
#: Number of tasks that are known at once, those that are still to be deleted included.
MAX_TASKS = 200


@dataclass(slots=True, eq=False)
class _Job:
    text: str = field(repr=False)
    origin: str
    target: str
    result: asyncio.Future[str]
    #: Set when the webhook has reported `state`, or when the result is no longer needed.
    news: asyncio.Event = field(default_factory=asyncio.Event)
    state: TaskState | None = None


class NextcloudTranslator:
    """A provider of translations for the engine. `run` must be running; until then it offers no language."""

    def __init__(self, nextcloud: NextcloudGateway) -> None:
        self._nextcloud = nextcloud
        self._pairs = Pairs()
        self._tasks: asyncio.TaskGroup | None = None
        self._jobs: dict[str, _Job] = {}
        self._working = 0
        self._ask = asyncio.Event()
        # Whether the last task was reported by the webhook.
        self._webhook_works = False

    def languages(self) -> TranslationLanguages:
        return self._pairs.languages

    def refresh_soon(self) -> None:
        """Ask for the languages now: the app was enabled, or a translation failed."""
        self._ask.set()

    async def ask(self) -> TranslationLanguages:
        """Ask Nextcloud for the languages now. Raises NextcloudError."""
        self._pairs = parse_pairs(await self._nextcloud.task_types())
        return self._pairs.languages

    async def run(self) -> None:
        """Keep the languages up to date, and run the tasks, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                while True:
                    self._ask.clear()
                    again_s = await self._refresh()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(again_s):
                            await self._ask.wait()
                    # Many failures in a row are one reason to ask.
                    await asyncio.sleep(1.0)
            finally:
                self._tasks = None
                self._pairs = Pairs()

    async def translate(self, text: str, origin: str, target: str) -> str:
        """Translate one text. Raises TranslationError. If this is cancelled, the task is still deleted."""
        codes = self._pairs.origins.get(origin), self._pairs.targets.get(target)
        if self._tasks is None or codes[0] is None or codes[1] is None:
            raise TranslationError("Nextcloud's translation provider does not offer this pair of languages.")
        if self._working >= MAX_TASKS:
            raise TranslationError("Too many translations are under way.", fix="Check that Nextcloud answers in time.")
        job = _Job(text, codes[0], codes[1], asyncio.get_running_loop().create_future())
        job.result.add_done_callback(lambda _: job.news.set())
        self._working += 1
        self._tasks.create_task(self._work(job), name="translation task")
        return await job.result

    def report(self, body: Any) -> None:
        """Take the body of a webhook request.

        A task that is not known is only deleted: this process or an earlier one got no answer when it scheduled it.
        """
        if (state := parse_task(body)) is None:
            return
        if (job := self._jobs.get(state.custom_id)) is not None:
            job.state = state
            job.news.set()
        elif self._tasks is not None and self._working < MAX_TASKS:
            self._working += 1
            self._tasks.create_task(self._delete_and_count(state.id), name="delete a translation task")

    async def _refresh(self) -> float:
        """Ask for the languages. Returns after how many seconds to ask again."""
        before = bool(self._pairs.targets)
        try:
            await self.ask()
        except NextcloudError:
            # The languages stay: if the provider is gone as well, the first translation shows it.
            return LANGUAGES_AGAIN_S
        if self._pairs.targets and not before:
            logger.info("Captions can be translated", extra={"languages": len(self._pairs.targets)})
        elif before and not self._pairs.targets:
            logger.info("Nextcloud has no translation provider any more, so captions are not translated")
        return LANGUAGES_S

    async def _work(self, job: _Job) -> None:
        custom_id = secrets.token_hex(8)
        self._jobs[custom_id] = job
        number: int | None = None
        try:
            content = {"input": job.text, "origin_language": job.origin, "target_language": job.target}
            scheduled = parse_task(await self._nextcloud.schedule_task(TRANSLATE, content, custom_id, WEBHOOK))
            number = None if scheduled is None else scheduled.id
            state = await self._finished(job, scheduled)
            if job.result.done():
                return
            if state is None or state.output is None:
                job.result.set_exception(
                    TranslationError("Nextcloud's translation provider failed.", fix="See Nextcloud's log.")
                )
            else:
                job.result.set_result(state.output)
        except NextcloudError as error:
            if isinstance(error, NoTaskProvider):
                self._pairs = Pairs()
            self._ask.set()
            if not job.result.done():
                job.result.set_exception(TranslationError(error.template, fix=error.fix_template, **error.values))
        finally:
            job.result.cancel()
            try:
                await self._delete_and_count(number)
            finally:
                del self._jobs[custom_id]

    async def _finished(self, job: _Job, state: TaskState | None) -> TaskState | None:
        """Wait until a task has ended, or until its result is no longer needed. Raises NextcloudError."""
        wait_s, longest_s = WEBHOOK_POLL_S if self._webhook_works else POLL_S
        while state is not None and state.output is None and not state.failed and not job.result.done():
            try:
                async with asyncio.timeout(wait_s):
                    await job.news.wait()
            except TimeoutError:
                wait_s = min(longest_s, 1.5 * wait_s)
                state = parse_task(await self._nextcloud.task(state.id)) or state
                if state.output is not None:
                    self._webhook_works = False
                continue
            if job.state is not None:
                self._webhook_works, state = True, job.state
        return state

    async def _delete_and_count(self, number: int | None) -> None:
        """Delete a task, if it is known, as the end of some work."""
        try:
            async with asyncio.timeout(None if self._tasks is not None else STOP_S):
                if number is not None:
                    await self._delete(number)
        except TimeoutError:
            logger.warning("The app stops before a translation task was deleted, so Nextcloud keeps its text for a week")
        finally:
            self._working -= 1

    async def _delete(self, number: int) -> None:
        try:
            await self._nextcloud.delete_task(number)
        except NextcloudError:
            await asyncio.sleep(DELETE_AGAIN_S)
            try:
                await self._nextcloud.delete_task(number)
            except NextcloudError as error:
                logger.warning("A translation task could not be deleted, so Nextcloud keeps its text for a week: %s", error)

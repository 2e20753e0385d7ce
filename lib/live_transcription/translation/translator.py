# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The interface of a provider of translations, and the service's access to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol

from live_transcription.captions.masking import Masks
from live_transcription.errors import TranslationError
from live_transcription.observability import metrics
from live_transcription.translation.lane import DEADLINE_S
from live_transcription.translation.queue import FairQueue, ProviderHealth
from live_transcription.types import TranslationLanguages

logger = logging.getLogger(__name__)


class Translator(Protocol):
    """A provider of translations."""

    def languages(self) -> TranslationLanguages:
        """The languages that it offers now, from memory."""

    async def translate(self, text: str, origin: str, target: str) -> str:
        """Translate one segment. `origin` and `target` are our language ids. Raises TranslationError.

        May be cancelled when the translation is no longer needed.
        """


class NoTranslator:
    """Offers no language."""

    def languages(self) -> TranslationLanguages:
        return TranslationLanguages()

    async def translate(self, text: str, origin: str, target: str) -> str:  # noqa: ARG002
        raise TranslationError("There is no translation provider.")


@dataclass(frozen=True, slots=True)
class _Job:
    text: str = field(repr=False)
    origin: str
    target: str
    done: Callable[[str | None], None]
    deadline: float


class Translations:
    """Sends requests for translations to the provider: bounded, and fair between calls."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self._tasks: asyncio.TaskGroup | None = None
        self._queue: FairQueue[_Job] = FairQueue()
        self._health = ProviderHealth()
        #: Whether to use the provider. If not, no language is offered, and readers get the captions as they are spoken.
        self.allowed = True
        #: The words that are masked, also in translations.
        self.masks = Masks()

    async def run(self) -> None:
        """Run requests until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    @property
    def failing(self) -> bool:
        """Whether the last requests have failed, so that readers get the original captions."""
        return self._health.failing

    def languages(self) -> TranslationLanguages:
        """The languages that are offered now."""
        return self._translator.languages() if self.allowed else TranslationLanguages()

    def request(
        self,
        call: Hashable,
        text: str,
        origin: str,
        target: str,
        *,
        wanted: Callable[[], bool],
        done: Callable[[str | None], None],
    ) -> bool:
        """Request a translation. `done` is called with it, or with None if it fails or takes longer than `DEADLINE_S`.

        `wanted` returns whether the result would still be used. Returns False if the provider fails or does not offer these
        languages: then `done` is not called, and some texts are sent only to find out whether the provider works again.
        """
        now = asyncio.get_running_loop().time()
        failing = self._health.failing
        offered = self.languages()
        if origin not in offered.origins or target not in offered.targets:
            return False
        if self._tasks is None or not self._health.allows(now):
            return False
        job = _Job(text, origin, target, _ignore if failing else done, now + DEADLINE_S)
        self._queue.add(call, job, _always if failing else wanted)
        self._start()
        return not failing

    def _start(self) -> None:
        while self._tasks is not None and (job := self._queue.start()) is not None:
            metrics.translations_in_flight.inc()
            self._tasks.create_task(self._work(job), name="translate")

    async def _work(self, job: _Job) -> None:
        loop = asyncio.get_running_loop()
        began_at, text = loop.time(), None
        try:
            async with asyncio.timeout_at(job.deadline):
                text = self.masks.apply(await self._translator.translate(job.text, job.origin, job.target), job.target)
            metrics.translation_seconds.observe(loop.time() - began_at)
            self._health.succeeded()
        except (TranslationError, TimeoutError) as error:
            failing = self._health.failing
            self._health.failed(loop.time())
            if self._health.failing and not failing:
                reason = str(error) or "It does not answer in time."
                logger.warning(
                    "Translations fail, so readers get the original captions. %s", reason, extra={"code": "translation"}
                )
        finally:
            self._queue.end()
            metrics.translations_in_flight.dec()
        job.done(text)
        self._start()


def _ignore(_text: str | None) -> None:
    """The result of a request that only shows whether the provider works."""


def _always() -> bool:
    return True

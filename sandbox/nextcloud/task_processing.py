# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Nextcloud's task processing, as far as translations use it, with a provider that can be slow, fail, or answer strangely.

Statuses and fields are those of `core/Controller/TaskProcessingApiController.php` (Nextcloud 33): 412 without a provider, 400
for a language that the provider does not offer, `data: {task: {…}}`, 404 for tasks of other apps. A finished task is reported
once to the app's webhook, if it gave one; failures of that are only logged.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response

from sandbox.nextcloud.app_api import AppApi, ExApp, ExAppUnreachable
from sandbox.nextcloud.ocs import OcsError, ocs

TRANSLATE = "core:text2text:translate"
SCHEDULED, RUNNING = "STATUS_SCHEDULED", "STATUS_RUNNING"
SUCCESSFUL, FAILED = "STATUS_SUCCESSFUL", "STATUS_FAILED"
_WEBHOOK = re.compile(r"AppAPI:[A-Za-z0-9_-]+:(GET|POST|PUT|DELETE)")
_CUSTOM_ID_CHARS = 255
#: Time limit of a webhook.
WEBHOOK_S = 30.0


@dataclass(slots=True)
class Provider:
    """A provider of translations. `known`: by text and the codes of the two languages; other texts come back with a mark.

    `seconds`: how long a translation takes. `answer`: replaces the output; None lets the task fail.
    """

    origins: Mapping[str, str] = field(
        default_factory=lambda: {"detect_language": "Detect language", "en": "English", "fr": "French", "de": "German"}
    )
    targets: Mapping[str, str] = field(
        default_factory=lambda: {
            "en": "English",
            "fr": "French",
            "de": "German",
            "es": "Spanish",
            "pt-BR": "Portuguese (Brazil)",
        }
    )
    known: dict[tuple[str, str, str], str] = field(default_factory=dict)
    seconds: float = 0.2
    answer: Callable[[str, str, str], str | None] | None = None
    hangs: bool = False

    def translate(self, text: str, origin: str, target: str) -> str | None:
        if self.answer is not None:
            return self.answer(text, origin, target)
        return self.known.get((text, origin, target), f"[{target}] {text}")


@dataclass(slots=True)
class Task:
    id: int
    app_id: str
    custom_id: str
    input: dict[str, str] = field(repr=False)
    webhook: tuple[str, str] | None
    status: str = SCHEDULED
    output: dict[str, str] | None = field(default=None, repr=False)
    scheduled_at: float = field(default_factory=time.time)

    def describe(self) -> dict[str, Any]:
        return {
            "task": {
                "id": self.id, "type": TRANSLATE, "lastUpdated": int(time.time()), "status": self.status, "userId": None,
                "appId": self.app_id, "input": self.input, "output": self.output, "customId": self.custom_id,
                "completionExpectedAt": None, "progress": None, "scheduledAt": int(self.scheduled_at),
                "startedAt": None, "endedAt": None,
            }
        }  # fmt: skip


class TaskProcessing:
    """`provider` None: nobody translates. `tasks` keeps what was not deleted; `webhooks` False: they are lost."""

    def __init__(self, app_api: AppApi) -> None:
        self.provider: Provider | None = None
        self.tasks: dict[int, Task] = {}
        self.webhooks = True
        #: Reports each end this many times.
        self.repeats = 1
        self.scheduled = self.polls = 0
        self._app_api = app_api
        self._ids = itertools.count(1)
        self._running: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def routes(self) -> APIRouter:
        router = APIRouter()
        root = "/ocs/v2.php/taskprocessing/tasks_consumer"

        @router.get(root + "/tasktypes")
        async def task_types(request: Request) -> Response:
            _caller(request)
            return ocs(request, {"types": self._types()})

        @router.post(root + "/schedule")
        async def schedule(request: Request) -> Response:
            return ocs(request, self._schedule(_caller(request), await request.json()).describe())

        @router.get(root + "/task/{number}")
        async def task(request: Request, number: int) -> Response:
            self.polls += 1
            return ocs(request, self._task(_caller(request), number).describe())

        @router.delete(root + "/task/{number}")
        async def delete(request: Request, number: int) -> Response:
            caller = _caller(request)
            if (found := self.tasks.get(number)) is not None and found.app_id == caller.app_id:
                del self.tasks[number]
            return ocs(request, None)

        return router

    def _types(self) -> dict[str, Any]:
        if self.provider is None:
            return {}
        enums = {"origin_language": self.provider.origins, "target_language": self.provider.targets}
        return {
            TRANSLATE: {
                "name": "Translate",
                "description": "Translate text from one language to another",
                "inputShape": {name: {"name": name, "description": "", "type": "Enum"} for name in enums}
                | {"input": {"name": "Origin text", "description": "", "type": "Text"}},
                "inputShapeEnumValues": {
                    name: [{"name": shown, "value": value} for value, shown in values.items()] for name, values in enums.items()
                },
                "outputShape": {"output": {"name": "Translated text", "description": "", "type": "Text"}},
            }
        }

    def _schedule(self, caller: ExApp, body: Any) -> Task:
        if not isinstance(body, dict) or not isinstance(body.get("input"), dict) or not isinstance(body.get("appId"), str):
            raise OcsError(400, "Bad request")
        if body.get("type") != TRANSLATE or self.provider is None:
            raise OcsError(412, "The given provider is not available")
        content, custom_id = body["input"], body.get("customId") or ""
        codes = (self.provider.origins, self.provider.targets)
        languages = (content.get("origin_language"), content.get("target_language"))
        if (
            set(content) != {"input", "origin_language", "target_language"}
            or not all(isinstance(value, str) for value in content.values())
            or not all(language in offered for language, offered in zip(languages, codes, strict=True))
            or len(custom_id) > _CUSTOM_ID_CHARS
        ):
            raise OcsError(400, "The input is invalid")
        webhook = (body.get("webhookUri"), body.get("webhookMethod"))
        known = all(isinstance(part, str) for part in webhook) and _WEBHOOK.fullmatch(str(webhook[1]))
        task = Task(next(self._ids), caller.app_id, custom_id, content, webhook if known else None)  # type: ignore[arg-type]
        self.tasks[task.id] = task
        self.scheduled += 1
        running = asyncio.ensure_future(self._work(caller, task, self.provider))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return task

    def _task(self, caller: ExApp, number: int) -> Task:
        task = self.tasks.get(number)
        if task is None or task.app_id != caller.app_id:
            raise OcsError(404, "Task not found")
        return task

    async def _work(self, app: ExApp, task: Task, provider: Provider) -> None:
        task.status = RUNNING
        await asyncio.sleep(1e6 if provider.hangs else provider.seconds)
        text = provider.translate(task.input["input"], task.input["origin_language"], task.input["target_language"])
        task.status, task.output = (FAILED, None) if text is None else (SUCCESSFUL, {"output": text})
        if task.webhook is None or not self.webhooks:
            return
        for _ in range(self.repeats):
            try:
                method = task.webhook[1].rpartition(":")[2]
                await self._app_api.request(app.app_id, method, task.webhook[0], params=task.describe(), timeout_s=WEBHOOK_S)
            except ExAppUnreachable:
                return


def _caller(request: Request) -> ExApp:
    """ExAppRequired: 412 for all others."""
    app: ExApp | None = request.state.ex_app
    if app is None:
        raise OcsError(412, "ExApp required")
    return app

# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The route of Nextcloud's task processing, called through AppAPI when a translation is done."""

from __future__ import annotations

from fastapi import APIRouter, Request

from ex_app.nextcloud.translator import WEBHOOK, NextcloudTranslator
from ex_app.responses import Answer
from ex_app.schemas import TaskReport, read_body


def translation_routes(translator: NextcloudTranslator) -> APIRouter:
    router = APIRouter()

    @router.post(WEBHOOK)
    async def task(request: Request) -> Answer:
        body = await read_body(request, TaskReport)
        translator.report({"task": body.task})
        return Answer()

    return router

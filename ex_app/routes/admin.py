# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Routes of the settings page, for administrators only. Secrets can be set but never read.

Three checks protect them. AppAPI passes on requests of administrators only (access level of the route). The app asks Nextcloud
whether the user is one (`Admins`). And a change needs a header and a content type that the page of another site cannot send
without a preflight request of the browser, since AppAPI's proxy checks no request token.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict

from ex_app.auth import Admins
from ex_app.errors import BodyError, NotAllowed
from ex_app.health import AppHealth
from ex_app.history import History
from ex_app.lifecycle import Lifecycle
from ex_app.page import render, render_guide
from ex_app.responses import Answer
from ex_app.schemas import read_body
from ex_app.selftest.checks import CHECKS, Checks
from ex_app.selftest.run import Runs
from ex_app.settings.store import SavedSettings
from ex_app.translation import language_of, translated
from live_transcription.config import ENGINES
from live_transcription.errors import LiveTranscriptionError

logger = logging.getLogger(__name__)

#: Required for every change; a form or an image of another site cannot send it.
OWN_HEADER = "X-Live-Transcription"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class SaveSettings(_Body):
    """Settings by key; null removes the saved value. Settings that are not listed stay as they are."""

    settings: dict[str, str | None]


class Forget(_Body):
    """Empty."""


class StartTest(_Body):
    engine: str = ""


def _text_of(error: LiveTranscriptionError | None) -> str:
    return "" if error is None else error.text


def admin_routes(
    saved: SavedSettings,
    checks: Checks,
    runs: Runs,
    history: History,
    lifecycle: Lifecycle,
    health: AppHealth,
    admins: Admins,
    version: str,
) -> APIRouter:
    def in_language(request: Request, lang: str = "") -> None:
        """Everything that the page shows, its errors included, is in the language of the page or of the browser."""
        request.state.language = language_of(lang or request.headers.get("accept-language", ""))
        # For `ex_app.errors`.
        request.state.translate = partial(translated, language=request.state.language)

    def answer(request: Request, content: Any, status: int = 200) -> Answer:
        return Answer(request.state.translate(content), status)

    async def for_admins(request: Request) -> None:
        await admins.require(request.state.user_id)

    def not_forged(request: Request) -> None:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.headers.get(OWN_HEADER, "") != "1":
            raise NotAllowed("The header {header} is missing.", header=OWN_HEADER)
        if content_type != "application/json":
            raise BodyError(415, "The content type must be application/json.")

    router = APIRouter(prefix="/admin", dependencies=[Depends(in_language), Depends(for_admins)])
    changes = [Depends(not_forged)]

    def settings() -> dict[str, Any]:
        return {
            "settings": saved.describe(),
            "error": _text_of(saved.last_error),
            "known": saved.known.is_set(),
            "problems": [problem.text for problem in saved.current.problems],
        }

    @router.get("/page")
    async def page(request: Request) -> HTMLResponse:
        configured = not saved.current.blocking
        text = render(request.state.language, saved.describe(), version, configured=configured)
        return HTMLResponse(text, headers=_HEADERS)

    @router.get("/docs/{guide}")
    async def docs(request: Request, guide: str) -> HTMLResponse:
        text = render_guide(request.state.language, guide)
        if text is None:
            raise BodyError(404, "This guide is not installed.")
        return HTMLResponse(text, headers=_HEADERS)

    @router.get("/settings")
    async def get_settings(request: Request) -> Answer:
        return answer(request, settings())

    @router.put("/settings", dependencies=changes)
    async def put_settings(request: Request) -> Answer:
        body = await read_body(request, SaveSettings)
        await saved.save(body.settings)
        logger.info("Saved settings: %s", ", ".join(sorted(body.settings)) or "none")
        return answer(request, settings())

    @router.post("/forget", dependencies=changes)
    async def forget(request: Request) -> Answer:
        await read_body(request, Forget)
        await saved.forget()
        logger.info("Deleted all saved settings")
        return answer(request, settings())

    @router.get("/status")
    async def status(request: Request) -> Answer:
        return answer(
            request,
            {
                **history.describe(),
                **health.describe(),
                "version": version,
                "enabled": lifecycle.enabled,
                "initialising": lifecycle.initialising,
                "settings_error": _text_of(saved.last_error),
            },
        )

    @router.post("/test/{check}", dependencies=changes)
    async def start_test(request: Request, check: str) -> Answer:
        if check not in CHECKS:
            raise BodyError(404, "There is no such check.")
        body = await read_body(request, StartTest)
        if body.engine not in ("", *ENGINES):
            raise BodyError(422, "There is no such engine.")
        kind = f"{check}:{body.engine}" if body.engine else check
        run = runs.launch(kind, (check,), lambda name, run: checks.run(name, run, body.engine))
        return answer(request, run.describe(), 202)

    @router.post("/selftest", dependencies=changes)
    async def start_selftest(request: Request) -> Answer:
        await read_body(request, StartTest)
        return answer(request, runs.launch("selftest", CHECKS, checks.run).describe(), 202)

    @router.get("/test/{run_id}")
    async def follow_test(request: Request, run_id: str) -> Answer:
        run = runs.get(run_id)
        if run is None:
            raise BodyError(404, "This run is no longer stored.")
        return answer(request, run.describe())

    return router

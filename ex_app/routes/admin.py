# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Routes of the settings page, for administrators only. Secrets can be set but never read.

Three checks protect them. AppAPI passes on requests of administrators only (access level of the route). The app asks Nextcloud
whether the user is one (`Admins`). And a change needs a header and a content type that the page of another site cannot send
without a preflight request of the browser, since AppAPI's proxy checks no request token.
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict

from ex_app.auth import Admins
from ex_app.errors import BodyError, NotAllowed
from ex_app.history import History
from ex_app.lifecycle import Lifecycle
from ex_app.page import documentation, language_of, render
from ex_app.responses import Answer
from ex_app.schemas import read_body
from ex_app.selftest.checks import CHECKS, Checks
from ex_app.selftest.run import Runs
from ex_app.settings.store import SavedSettings
from live_transcription.config import ENGINES

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


def admin_routes(
    saved: SavedSettings, checks: Checks, runs: Runs, history: History, lifecycle: Lifecycle, admins: Admins, version: str
) -> APIRouter:
    async def for_admins(request: Request) -> None:
        await admins.require(request.state.user_id)

    def not_forged(request: Request) -> None:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.headers.get(OWN_HEADER, "") != "1":
            raise NotAllowed(f"The header {OWN_HEADER} is missing.")
        if content_type != "application/json":
            raise BodyError(415, "The content type must be application/json.")

    router = APIRouter(prefix="/admin", dependencies=[Depends(for_admins)])
    changes = [Depends(not_forged)]

    def settings() -> dict[str, Any]:
        return {
            "settings": saved.describe(),
            "error": str(saved.last_error or ""),
            "known": saved.known.is_set(),
            "problems": [str(problem) for problem in saved.current.problems],
        }

    @router.get("/page")
    async def page(request: Request, lang: str = "") -> HTMLResponse:
        language = language_of(lang or request.headers.get("accept-language", ""))
        text = render(language, saved.describe(), version)
        return HTMLResponse(text, headers=_HEADERS)

    @router.get("/docs")
    async def docs() -> Response:
        return PlainTextResponse(documentation(), headers=_HEADERS)

    @router.get("/settings")
    async def get_settings() -> Answer:
        return Answer(settings())

    @router.put("/settings", dependencies=changes)
    async def put_settings(request: Request) -> Answer:
        body = await read_body(request, SaveSettings)
        await saved.save(body.settings)
        logger.info("Saved settings: %s", ", ".join(sorted(body.settings)) or "none")
        return Answer(settings())

    @router.post("/forget", dependencies=changes)
    async def forget(request: Request) -> Answer:
        await read_body(request, Forget)
        await saved.forget()
        logger.info("Deleted all saved settings")
        return Answer(settings())

    @router.get("/status")
    async def status() -> Answer:
        return Answer(
            {
                **history.describe(),
                "version": version,
                "enabled": lifecycle.enabled,
                "initialising": lifecycle.initialising,
                "settings_error": str(saved.last_error or ""),
            }
        )

    @router.post("/test/{check}", dependencies=changes)
    async def start_test(request: Request, check: str) -> Answer:
        if check not in CHECKS:
            raise BodyError(404, "There is no such check.")
        body = await read_body(request, StartTest)
        if body.engine not in ("", *ENGINES):
            raise BodyError(422, "engine: there is no such engine")
        kind = f"{check}:{body.engine}" if body.engine else check
        run = runs.launch(kind, (check,), lambda name, run: checks.run(name, run, body.engine))
        return Answer(run.describe(), 202)

    @router.post("/selftest", dependencies=changes)
    async def start_selftest(request: Request) -> Answer:
        await read_body(request, StartTest)
        return Answer(runs.launch("selftest", CHECKS, checks.run).describe(), 202)

    @router.get("/test/{run_id}")
    async def follow_test(run_id: str) -> Answer:
        run = runs.get(run_id)
        if run is None:
            raise BodyError(404, "This run is no longer stored.")
        return Answer(run.describe())

    return router
